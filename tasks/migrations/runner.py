"""Move one revision on a live connection, through `env.py` like Alembic's command line."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, NoReturn

from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, MigrationStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import HeadwayError
from tasks.migrations import alembic_config
from tasks.migrations.history import Occasion
from tasks.migrations.integrity import AppliedRevision
from tasks.migrations.plan import Direction

QUERIES = load_queries(__package__)
# `alembic.op` and `alembic.context` are globals of the process: one revision at a time.
_ONE_AT_A_TIME = threading.Lock()


class CommitsByItself(HeadwayError):
    """A revision commits while it runs, so it cannot be part of another transaction."""


def move(connection: Connection, revision: str, direction: Direction, occasion: Occasion) -> None:
    """Apply or undo exactly this revision, with its history row.

    In the caller's transaction if the connection is in one, else in one of its own, which
    commits. The caller has checked that the database is where the revision starts.

    Raises:
        CommitsByItself: it has an autocommit block, and the connection is in a transaction.
    """
    is_callers = connection.in_transaction()
    config = alembic_config.load(connection, occasion)
    scripts = ScriptDirectory.from_config(config)
    script = scripts.get_revision(revision)
    if script is None:
        raise LookupError(revision)
    step = (
        MigrationStep.upgrade_from_script(scripts.revision_map, script)
        if direction == "upgrade"
        else MigrationStep.downgrade_from_script(scripts.revision_map, script)
    )

    def only_this(_heads: object, context: Any) -> Iterable[MigrationStep]:
        if is_callers:
            context.autocommit_block = _refuse_to_commit
        return [step]

    with _ONE_AT_A_TIME, EnvironmentContext(config, scripts, fn=only_this):
        scripts.run_env()


def _refuse_to_commit() -> NoReturn:
    raise CommitsByItself("an autocommit block cannot be part of another transaction")


def current_heads(connection: Connection) -> tuple[str, ...]:
    """The rows of alembic_version: one normally, none before the first revision."""
    return tuple(sorted(MigrationContext.configure(connection).get_current_heads()))


def applied_history(connection: Connection) -> tuple[AppliedRevision, ...]:
    """The last time each revision was applied here, in order; empty without schema `headway`."""
    if not connection.scalar(QUERIES["history_exists"]):
        return ()
    return tuple(
        AppliedRevision(revision=row.revision, position=row.position, checksum=row.checksum)
        for row in connection.execute(QUERIES["applied_history"])
    )
