"""Who is in the way: the sessions that hold the migration lock, or a table."""

from __future__ import annotations

from sqlalchemy import Connection

from tasks.database import load_queries

QUERIES = load_queries(__package__, "session.sql")
LOCK_KEY = 7310842302  # any constant; one migration at a time in one database


def describe(connection: Connection, statement: str) -> str:
    """Sessions that hold the migration lock, or tables; those in the statement come first.

    Asked on a connection of its own: the given one may be in a failed transaction.
    """
    with connection.engine.connect() as other:
        rows = other.execute(
            QUERIES["lock_holders"],
            {"key": LOCK_KEY, "statement": statement, "own_pid": backend_pid(connection)},
        ).all()
    if not rows:
        return "the session that held it is gone by now"
    return "; ".join(
        f"session {row.pid} ({row.usename}, {row.application_name or 'no application name'}) "
        f"holds {row.held} for {row.seconds:.0f} s ({row.state})"
        for row in rows
    )


def backend_pid(connection: Connection) -> int:
    """The process that serves the connection; 0 if it is lost."""
    driver = connection.connection.driver_connection
    return int(driver.info.backend_pid) if driver is not None else 0
