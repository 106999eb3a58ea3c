"""The session that migrates an environment for the current run: how it connects and locks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tasks import runs
from tasks.bootstrap import bootstrap
from tasks.migrations import environments
from tasks.migrations.applying import orphans, session
from tasks.migrations.applying.fence import Fence
from tasks.migrations.revision_graph.history import Occasion
from tasks.settings import load_settings

# A new session pays for a cold catalogue cache, which costs more than a small revision: a run keeps
# its own from one revision to the next. In between it is idle, and holds nothing.
_idle: dict[tuple[str, str], Connection] = {}
_taking = Lock()


@contextmanager
def connected(environment: str) -> Iterator[Connection]:
    """A connection to the environment's database; on the server it is known by the run's id."""
    run_id, url = runs.current_run().id, environments.find(environment).url
    connection = _idle_one(run_id, url)
    if connection is None:
        connection = environments.engine(url, orphans.application_name(run_id)).connect()
    try:
        yield connection
        connection.rollback()
    except BaseException:
        connection.close()
        raise
    with _taking:
        second = _idle.setdefault((run_id, url), connection)
    if second is not connection:
        connection.close()


def _idle_one(run_id: str, url: str) -> Connection | None:
    with _taking:
        connection = _idle.pop((run_id, url), None)
    if connection is None:
        return None
    try:
        connection.scalar(sa.text("SELECT 1"))
        connection.rollback()
    except DBAPIError:  # it was cut while nobody used it
        connection.close()
        return None
    return connection


def _close_idle(run: runs.RunInfo) -> None:
    with _taking:
        left = [_idle.pop(key) for key in list(_idle) if key[0] == run.id]
    for connection in left:
        connection.close()


runs.at_end.append(_close_idle)


@contextmanager
def locked(connection: Connection, revision: str, terminate_orphans: bool) -> Iterator[Fence]:
    """Hold the migration lock, with the timeouts that the settings say for this try.

    Before that schema `headway` is made, or brought up to date.

    Raises:
        LockNotAcquired: another session migrates for longer than it is waited for.
    """
    settings = load_settings()
    bootstrap(connection)
    tries = session.failed_tries(connection, runs.current_run().id, revision)
    connection.commit()
    with session.migrating(
        connection,
        lock_timeout_seconds=session.lock_timeout(settings.lock_timeout_seconds, tries),
        statement_timeout_seconds=settings.statement_timeout_seconds,
        wait_seconds=settings.migration_wait_seconds,
        end_orphans=orphans.end_them if terminate_orphans else None,
    ) as held:
        yield held


def occasion(environment: str) -> Occasion:
    """Where the current run migrates, for whom and why."""
    run = runs.current_run()
    return Occasion(environment, run_id=run.id, actor=run.actor, reason=run.reason)
