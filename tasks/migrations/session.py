"""What every migrating session has: short waits for locks, and the lock that keeps others out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic.runtime.migration import MigrationContext, MigrationInfo
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from tasks.database import load_queries
from tasks.errors import HeadwayError, LockNotAcquired, Reason, Refused

QUERIES = load_queries(__package__)
LOCK_KEY = 7310842302  # any constant; one migration at a time in one database
_LOCK_NOT_AVAILABLE = "55P03"
_OTHERS_DEPEND_ON_IT = "2BP01"


class IndexLeftInvalid(HeadwayError):
    """A concurrent build of an index failed and left it behind, invalid."""

    def __init__(self, indexes: Sequence[str], what: str) -> None:
        self.indexes, self.what = tuple(indexes), what
        drop = "; ".join(f"DROP INDEX CONCURRENTLY {name}" for name in self.indexes)
        super().__init__(
            f"{what}: a build that failed left {', '.join(self.indexes)} behind, which is invalid "
            f"(it costs writes and answers nothing). Remove the cause, then {drop}; and migrate "
            "again"
        )

    def __reduce__(self) -> tuple[type[IndexLeftInvalid], tuple[tuple[str, ...], str]]:
        return type(self), (self.indexes, self.what)


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


def statements(lock_timeout_seconds: float) -> tuple[str, ...]:
    """The same as SQL, for a session that is not ours; it lets go when it ends."""
    return (
        f"SET lock_timeout = '{lock_timeout_seconds * 1000:.0f}ms'",
        f"SELECT pg_advisory_lock({LOCK_KEY})",
    )


@contextmanager
def explained(connection: Connection) -> Iterator[None]:
    """Name what an error leaves open: who holds the lock, which index broke, what depends on it."""
    try:
        yield
    except DBAPIError as error:
        if "CONCURRENTLY" in (error.statement or "") and not error.connection_invalidated:
            _require_valid_indexes(connection, error)
        sqlstate = getattr(error.orig, "sqlstate", None)
        if sqlstate == _OTHERS_DEPEND_ON_IT:
            raise Refused("the change", [_dependents(error)]) from error
        if sqlstate != _LOCK_NOT_AVAILABLE:
            raise
        holders = _holders(connection, error.statement or "")
        raise LockNotAcquired(
            f"a lock was not free within lock_timeout: {holders}. "
            "Wait for that session or end it, then run this again"
        ) from error


def invalid_indexes(connection: Connection, named_in: str) -> tuple[str, ...]:
    """Indexes that are invalid, and named in the text: a statement, or a revision's file."""
    found = connection.scalars(QUERIES["invalid_indexes"])
    return tuple(name for name in found if re.search(rf"\b{re.escape(name)}\b", named_in))


def require_valid_indexes(context: MigrationContext, step: MigrationInfo) -> None:
    """A revision is not applied while an index of its is invalid (`IF NOT EXISTS` passes it by)."""
    script: Any = step.up_revision
    if context.as_sql or context.connection is None or not step.is_upgrade or step.is_stamp:
        return
    broken = invalid_indexes(context.connection, Path(script.path).read_text("utf-8"))
    if broken:
        raise IndexLeftInvalid(broken, f"revision {step.up_revision_id} is not applied")


def _dependents(error: DBAPIError) -> Reason:
    diagnosis = getattr(error.orig, "diag", None)
    detail = str(getattr(diagnosis, "message_detail", "")).replace("\n", ", ")
    problem = str(error.orig).partition("\n")[0]
    return Reason("others-depend-on-it", f"{problem}: {detail}; drop those first, if they may go")


def _require_valid_indexes(connection: Connection, error: DBAPIError) -> None:
    with connection.engine.connect() as other:
        broken = invalid_indexes(other, error.statement or "")
    if broken:
        raise IndexLeftInvalid(broken, str(error.orig).partition("\n")[0]) from error


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
