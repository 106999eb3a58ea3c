"""Steps of upkeep: working rows of the ledger, of experiments and of rollouts."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.experiments import expiring
from tasks.ledger import step
from tasks.retention import Purged
from tasks.rollouts.expiring import expire_health

QUERIES = load_queries("tasks", "steps.sql")
_TABLES = ("step", "step_attempt", "effect", "run")


@step(key="{older_than}")
def purge_ledger_rows(tx: Connection, older_than: timedelta) -> Purged:
    """Delete the ledger's working rows older than the given age; decisions stay."""
    deleted = {
        table: tx.execute(QUERIES[f"purge_{table}"], {"older_than": older_than}).rowcount
        for table in _TABLES
    }
    return Purged(**deleted)


@step(key="{waiting_days}")
def purge_experiment_rows(tx: Connection, waiting_days: int) -> dict[str, int]:
    """End what waits in vain: events without a unit, and logs that nobody folds any more.

    The events stay as rejected rows with their reason; an experiment whose log is gone is folded in
    full when it is recomputed. Returns how many rows of which table.
    """
    if not expiring.has_experiments(tx):
        return {}
    return {
        "waiting_event": expiring.expire_waiting_events(tx, waiting_days),
        "touched_unit": expiring.forget_touched_units(tx),
    }


@step(key="{check_days}:{sample_days}")
def purge_rollout_rows(tx: Connection, check_days: int, sample_days: int) -> dict[str, int]:
    """Delete old samples and verdicts of health; what the audit rests on stays.

    Returns how many rows of which table.
    """
    return expire_health(tx, check_days, sample_days)
