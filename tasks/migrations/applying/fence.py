"""The migration lock of a database, and how its holder notices that it was lost.

The lock belongs to one backend and dies with it. Each holder also counts a number up; whoever
finds another number, or no lock, has been followed by somebody else and must not go on.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql

from tasks.database import load_queries
from tasks.errors import HeadwayError, LockNotAcquired
from tasks.migrations.applying import blockers
from tasks.migrations.applying.blockers import LOCK_KEY

QUERIES = load_queries(__package__, "session.sql")
_LOOK_AT_LOCK = (
    QUERIES["look_at_lock"].columns(is_held=sa.Boolean, locks=postgresql.JSONB).subquery("looked")
)
_TOKEN = QUERIES["read_token"].columns(token=sa.BigInteger).scalar_subquery()
_LOOK = sa.select(_LOOK_AT_LOCK, sa.null().label("token"))
_LOOK_AND_READ_TOKEN = sa.select(_LOOK_AT_LOCK, _TOKEN.label("token"))
_POLL_SECONDS = (0.05, 0.2)
_AFTER_AN_END_SECONDS = 10.0


class FenceLost(HeadwayError):
    """The migration lock was lost (a failover, a restart, a pooler); nothing more was sent."""

    retryable: ClassVar[bool] = True


class MigrationLockHeld(LockNotAcquired):
    """Another session has been migrating for longer than it was waited for."""

    retryable: ClassVar[bool] = False  # it was waited for long enough


@dataclass(frozen=True, slots=True)
class Fence:
    """The number of a holder of the migration lock; None where it could not count."""

    token: int | None


@dataclass(frozen=True, slots=True)
class Look:
    """The locks on tables that the session holds: pairs of a table and a mode."""

    locks: frozenset[tuple[str, str]]


def take(
    connection: Connection,
    *,
    wait_seconds: float,
    end_orphans: Callable[[Connection], bool] | None = None,
) -> Fence:
    """Take the migration lock: for the caller's transaction if it is in one, else the session.

    Asks again and again, and holds no snapshot in between. ``end_orphans`` is called when the
    wait is over; if it ended a session the lock is waited for a little longer.

    Raises:
        MigrationLockHeld: it was not free in time; the message names the session that holds it.
    """
    is_callers = connection.in_transaction()
    if not _wait(connection, is_callers, wait_seconds):
        is_ended = end_orphans is not None and end_orphans(connection)
        if not is_ended or not _wait(connection, is_callers, _AFTER_AN_END_SECONDS):
            raise MigrationLockHeld(
                f"the migration lock was not free for {wait_seconds:g} s: "
                f"{blockers.describe(connection, 'pg_try_advisory_lock')}. Wait for that session; "
                "or if its run is dead, end it (terminate_orphans), and run this again"
            )
    token = _count_up(connection)
    if not is_callers:
        connection.commit()
    return Fence(token)


def _wait(connection: Connection, is_callers: bool, seconds: float) -> bool:
    ask = QUERIES["try_lock_for_transaction" if is_callers else "try_lock_for_session"]
    deadline = time.monotonic() + seconds
    while not connection.scalar(ask, {"key": LOCK_KEY}):
        if not is_callers:
            connection.rollback()
        if time.monotonic() >= deadline:
            return False
        time.sleep(random.uniform(*_POLL_SECONDS))  # noqa: S311 - jitter, not a secret
    return True


def _count_up(connection: Connection) -> int | None:
    if not connection.scalar(QUERIES["may_count_up"]):
        return None
    return int(connection.execute(QUERIES["count_up"]).scalar_one())


def look(connection: Connection, fence: Fence) -> Look:
    """Make sure that the lock is still the fence's; returns the other locks of the session.

    Raises:
        FenceLost: it is not.
    """
    query = _LOOK if fence.token is None else _LOOK_AND_READ_TOKEN
    row: Any = connection.execute(query, {"key": LOCK_KEY}).one()
    if not row.is_held or row.token != fence.token:
        raise FenceLost(
            "the migration lock was lost while a revision ran (a failover, a restart, a pooler, or "
            "something that released it), so the next statement was not sent; run this again: "
            "it finds out what was done"
        )
    return Look(frozenset((relation, mode) for relation, mode in row.locks))
