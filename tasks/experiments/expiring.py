"""An end for working rows that nothing else takes away; what they say is not lost."""

from __future__ import annotations

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.runs import current_run

QUERIES = load_queries(__package__, "expiring.sql")
FOLD = load_queries("tasks.experiments.folding", "fold.sql")


def expire_waiting_events(tx: Connection, days: int) -> int:
    """Reject the events that waited longer than ``days`` for an assignment; returns how many.

    They are kept whole in `rejected_row`, reason `never-assigned`.
    """
    given = {"days": days, "run_id": current_run().id}
    return tx.execute(QUERIES["reject_unassigned"], given).rowcount


def forget_touched_units(tx: Connection) -> int:
    """Empty the log of touched units of experiments that are over, or gone; returns how many rows.

    Nobody folds these by the hour. Should one be recomputed, it is folded in full, which needs no
    log.
    """
    unfolded = {"experiment_ids": list(tx.scalars(QUERIES["find_unfolded"]))}
    if not unfolded["experiment_ids"]:
        return 0
    tx.execute(FOLD["lock_experiments"], unfolded)
    return int(tx.scalar(QUERIES["forget_touched"], unfolded) or 0)


def has_experiments(tx: Connection) -> bool:
    """Whether the tables are there: the ledger has its own schema, and may be alone."""
    return bool(tx.scalar(QUERIES["has_tables"]))
