"""An end for old samples and verdicts on health; the audit, and what it rests on, stays."""

from __future__ import annotations

from sqlalchemy import Connection

from tasks.database import load_queries

QUERIES = load_queries(__package__, "expiring.sql")


def expire_health(tx: Connection, check_days: int, sample_days: int) -> dict[str, int]:
    """Delete checks and samples older than so many days; how many rows of which table.

    Decisions keep what they were made of, so that they can still be replayed.
    """
    if not tx.scalar(QUERIES["has_health"]):
        return {}
    return {
        "health_check": tx.execute(QUERIES["expire_checks"], {"days": check_days}).rowcount,
        "health_sample": tx.execute(QUERIES["expire_samples"], {"days": sample_days}).rowcount,
    }
