"""What every migrating session has: short waits for locks, and the lock that keeps others out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from tasks.database import load_queries
from tasks.errors import LockNotAcquired

QUERIES = load_queries(__package__)
LOCK_KEY = 7310842302  # any constant; one migration at a time in one database
_LOCK_NOT_AVAILABLE = "55P03"


@contextmanager
def migrating(
    connection: Connection, *, lock_timeout_seconds: float, statement_timeout_seconds: float
) -> Iterator[None]:
    """Hold the migration lock of the connection's database, with the timeouts set.

    In a transaction of the caller's, lock and timeouts end with it. Otherwise they belong to the
    session, because a revision may commit (autocommit blocks); they are given back at the end,
    and die with the session at the latest.

    Raises:
        LockNotAcquired: another session migrates, or holds a table, for longer than the timeout.
    """
    is_callers = connection.in_transaction()
    timeouts = {
        "lock_timeout": f"{lock_timeout_seconds * 1000:.0f}ms",
        "statement_timeout": f"{statement_timeout_seconds * 1000:.0f}ms",
        "is_local": is_callers,
    }
    with explained(connection):
        connection.execute(QUERIES["set_timeouts"], timeouts)
        lock = "lock_for_transaction" if is_callers else "lock_for_session"
        connection.execute(QUERIES[lock], {"key": LOCK_KEY})
        if is_callers:
            yield
            return
        connection.commit()
        try:
            yield
        finally:
            _give_back(connection)


@contextmanager
def explained(connection: Connection) -> Iterator[None]:
    """Turn a lock timeout into LockNotAcquired that names the sessions in the way."""
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        holders = _holders(connection, error.statement or "")
        raise LockNotAcquired(
            f"a lock was not free within lock_timeout: {holders}. "
            "Wait for that session or end it, then run this again"
        ) from error


def _holders(connection: Connection, statement: str) -> str:
    """Sessions that hold the migration lock, or tables; those in the statement come first."""
    with connection.engine.connect() as other:
        rows = other.execute(
            QUERIES["lock_holders"],
            {"key": LOCK_KEY, "statement": statement, "own_pid": _backend_pid(connection)},
        ).all()
    if not rows:
        return "the session that held it is gone by now"
    return "; ".join(
        f"session {row.pid} ({row.usename}, {row.application_name or 'no application name'}) "
        f"holds {row.held} for {row.seconds:.0f} s ({row.state})"
        for row in rows
    )


def _backend_pid(connection: Connection) -> int:
    driver = connection.connection.driver_connection
    return int(driver.info.backend_pid) if driver is not None else 0


def _give_back(connection: Connection) -> None:
    if connection.closed or connection.invalidated:
        return
    connection.rollback()
    connection.execute(QUERIES["unlock_session"], {"key": LOCK_KEY})
    connection.execute(text("RESET lock_timeout"))
    connection.execute(text("RESET statement_timeout"))
    connection.commit()
