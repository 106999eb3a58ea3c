"""Upkeep of the ledger itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from flows.artifacts import publish_report
from flows.pipeline import pipeline
from tasks.retention import Purged
from tasks.settings import load_settings
from tasks.steps import purge_ledger_rows


@pipeline(name="purge-ledger")
def purge_ledger(older_than_days: Annotated[int, Field(ge=1)] | None = None) -> Purged:
    """Delete old rows of the ledger's working tables; decisions and history stay for ever.

    Removes finished steps of runs, failed attempts, journal rows and runs that are older than
    the retention. Steps that may happen only once ever keep their rows: the row is what
    prevents the second time.

    Args:
        older_than_days: age in days; by default the setting `HEADWAY_LEDGER_RETENTION_DAYS`.
    """
    days = older_than_days or load_settings().ledger_retention_days
    purged = purge_ledger_rows(older_than=timedelta(days=days))
    publish_report("purge-ledger", purged.as_markdown(days))
    return purged
