"""Steps of the ledger's own upkeep."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.ledger import step
from tasks.retention import Purged

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
