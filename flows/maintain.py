"""Upkeep: working rows that have had their time."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from flows.artifacts import publish_report
from flows.pipeline import pipeline
from tasks.retention import Purged
from tasks.settings import load_settings
from tasks.steps import purge_experiment_rows, purge_ledger_rows, purge_rollout_rows


@pipeline(name="purge-ledger")
def purge_ledger(older_than_days: Annotated[int, Field(ge=1)] | None = None) -> Purged:
    """Delete old rows of the ledger's working tables; decisions and history stay for ever.

    Removes finished steps of runs, failed attempts, journal rows and runs that are older than
    the retention. Steps that may happen only once ever keep their rows: the row is what
    prevents the second time. Events that wait too long for a unit that never comes become
    rejected rows (the setting `HEADWAY_WAITING_EVENT_RETENTION_DAYS`), and experiments that are
    over no longer log which units changed: recomputing one then folds it in full. Samples and
    verdicts of the health of rollouts expire by the settings in `[rollouts]`.

    Args:
        older_than_days: age in days; by default the setting `HEADWAY_LEDGER_RETENTION_DAYS`.
    """
    settings = load_settings()
    days = older_than_days or settings.ledger_retention_days
    waiting_days = settings.waiting_event_retention_days
    ledger = purge_ledger_rows(older_than=timedelta(days=days))
    kept = settings.rollouts
    health = purge_rollout_rows(
        check_days=kept.health_check_days, sample_days=kept.health_sample_days
    )
    experiments = purge_experiment_rows(waiting_days=waiting_days)
    purged = ledger.model_copy(update=experiments | health)
    publish_report("purge-ledger", purged.as_markdown(days, waiting_days))
    return purged
