"""What every migrating session has: short waits for locks, and the lock that keeps others out."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tasks.database import load_queries
from tasks.errors import LockNotAcquired, Reason, Refused
from tasks.migrations.applying import blockers, fence, invalid_indexes, orphans
from tasks.migrations.applying.blockers import LOCK_KEY
from tasks.migrations.applying.fence import Fence

QUERIES = load_queries(__package__, "session.sql")
WAIT_SECONDS = 60.0  # for the migration lock: as long as a usual migration of somebody else's
_GIVE_BACK = (  # at once: it is sent after every revision
    f"SELECT pg_advisory_unlock({LOCK_KEY}); RESET lock_timeout; RESET statement_timeout; "
    "RESET client_connection_check_interval"
)
_SHORTEST, _LONGEST, _JITTER = 0.5, 2.0, 0.2
_LOCK_NOT_AVAILABLE = "55P03"
_OTHERS_DEPEND_ON_IT = "2BP01"


@contextmanager
def migrating(
    connection: Connection,
    *,
    lock_timeout_seconds: float,
    statement_timeout_seconds: float,
    wait_seconds: float = WAIT_SECONDS,
    end_orphans: Callable[[Connection], bool] | None = None,
) -> Iterator[Fence]:
    """Hold the migration lock of the connection's database, with the timeouts set.

    In a transaction of the caller's, lock and timeouts end with it. Otherwise they belong to the
    session, because a revision may commit (autocommit blocks); they are given back at the end,
    and die with the session at the latest. Another migration is waited for ``wait_seconds``; a
    table no longer than the lock timeout, because everybody else queues behind.

    Raises:
        LockNotAcquired: another session migrates, or holds a table, for longer than that.
    """
    is_callers = connection.in_transaction()
    timeouts = {
        "lock_timeout": f"{lock_timeout_seconds * 1000:.0f}ms",
        "statement_timeout": f"{statement_timeout_seconds * 1000:.0f}ms",
        "is_local": is_callers,
    }
    with explained(connection):
        held = fence.take(connection, wait_seconds=wait_seconds, end_orphans=end_orphans)
        orphans.end_with_client(connection)
        connection.execute(QUERIES["set_timeouts"], timeouts)
        if is_callers:
            yield held
            return
        connection.commit()
        try:
            yield held
        finally:
            _give_back(connection)


def lock_timeout(setting: float, failed_tries: int) -> float:
    """Seconds to wait for a lock on a table: half of the setting at first, at most twice.

    Each try waits about twice as long as the one before, and never exactly as long as others.
    """
    growing = min(_LONGEST, _SHORTEST * 2.0**failed_tries)
    jitter = 1 + random.uniform(-_JITTER, _JITTER)  # noqa: S311 - jitter, not a secret
    return setting * min(_LONGEST, max(_SHORTEST, growing * jitter))


def failed_tries(connection: Connection, run_id: str, revision: str) -> int:
    """How often this run has failed at this revision, as the history says."""
    asked = {"run_id": run_id, "revision": revision}
    return int(connection.scalar(QUERIES["failed_tries"], asked) or 0)


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
        invalid_indexes.explain(connection, error)
        sqlstate = getattr(error.orig, "sqlstate", None)
        if sqlstate == _OTHERS_DEPEND_ON_IT:
            raise Refused("the change", [_dependents(error)]) from error
        if sqlstate != _LOCK_NOT_AVAILABLE:
            raise
        holders = blockers.describe(connection, error.statement or "")
        raise LockNotAcquired(
            f"a lock was not free within lock_timeout: {holders}. "
            "Wait for that session or end it, then run this again"
        ) from error


def _dependents(error: DBAPIError) -> Reason:
    diagnosis = getattr(error.orig, "diag", None)
    detail = str(getattr(diagnosis, "message_detail", "")).replace("\n", ", ")
    problem = str(error.orig).partition("\n")[0]
    return Reason("others-depend-on-it", f"{problem}: {detail}; drop those first, if they may go")


def _give_back(connection: Connection) -> None:
    if connection.closed or connection.invalidated:
        return
    connection.rollback()
    connection.exec_driver_sql(_GIVE_BACK)
    connection.commit()
