"""The session that migrates an environment for the current run: how it connects and locks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from tasks import runs
from tasks.bootstrap import bootstrap
from tasks.migrations import environments, orphans, session
from tasks.migrations.fence import Fence
from tasks.migrations.history import Occasion
from tasks.settings import load_settings


@contextmanager
def connected(environment: str) -> Iterator[Connection]:
    """A connection to the environment's database; on the server it is known by the run's id."""
    name = orphans.application_name(runs.current_run().id)
    with environments.engine(environments.find(environment).url, name).connect() as connection:
        yield connection


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
