"""Run one revision on a live connection: by Alembic, but without the project's `env.py`.

So any Alembic project can be migrated: what its `env.py` would do for a connection, transactions
and the version table is done here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NoReturn

from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, MigrationInfo, MigrationStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import HeadwayError
from tasks.migrations import content, history, late, session
from tasks.migrations.history import Occasion
from tasks.migrations.integrity import AppliedRevision
from tasks.migrations.plan import Direction
from tasks.migrations.project import Project

QUERIES = load_queries(__package__)


class CommitsByItself(HeadwayError):
    """A revision commits while it runs, so it cannot be part of another transaction."""


def move(
    connection: Connection,
    project: Project,
    revision: str,
    direction: Direction,
    occasion: Occasion | None = None,
) -> None:
    """Apply or undo exactly this revision, with its history row if there is an occasion.

    In the caller's transaction if the connection is in one, else in one of its own, which
    commits. The caller has checked that the database is where the revision starts.

    Raises:
        CommitsByItself: it has an autocommit block, and the connection is in a transaction.
    """
    is_callers = connection.in_transaction()
    config = project.alembic_config()
    scripts = ScriptDirectory.from_config(config)
    step = _step(scripts, revision, direction)
    recorded = {revision: content.read_content(project, revision)} if occasion else {}
    late_ones: list[str] = []

    def only_this(heads: Collection[str], context: Any) -> Iterable[MigrationStep]:
        if is_callers:
            context.autocommit_block = _refuse_to_commit
        if direction == "upgrade" and late.is_late(scripts, revision, heads):
            late_ones.append(revision)
        return [step]

    def record(
        ctx: MigrationContext,
        step: MigrationInfo,
        heads: Collection[Any],  # noqa: ARG001 - Alembic passes it by name
        run_args: Mapping[str, Any],  # noqa: ARG001 - Alembic passes it by name
    ) -> None:
        for each in late_ones:
            late.leave_no_head(ctx, project, each)
        if occasion is not None:
            history.record(ctx, step, occasion, recorded)
            session.require_valid_indexes(ctx, step)

    with (
        content.ONE_AT_A_TIME,
        EnvironmentContext(config, scripts, fn=only_this) as environment,
    ):
        environment.configure(
            connection=connection,
            transaction_per_migration=True,
            on_version_apply=record,
            version_table=project.version_table,
            version_table_schema=project.version_table_schema,
        )
        with environment.begin_transaction():
            environment.run_migrations()


def _step(scripts: ScriptDirectory, revision: str, direction: Direction) -> MigrationStep:
    script = scripts.get_revision(revision)
    if script is None:
        raise LookupError(revision)
    if direction == "upgrade":
        return MigrationStep.upgrade_from_script(scripts.revision_map, script)
    return MigrationStep.downgrade_from_script(scripts.revision_map, script)


def _refuse_to_commit() -> AbstractContextManager[NoReturn]:
    raise CommitsByItself("an autocommit block cannot be part of another transaction")


def current_heads(connection: Connection, project: Project) -> tuple[str, ...]:
    """The rows of the version table: one normally, none before the first revision."""
    options = {
        "version_table": project.version_table,
        "version_table_schema": project.version_table_schema,
    }
    context = MigrationContext.configure(connection, opts=options)
    return tuple(sorted(context.get_current_heads()))


def applied_history(connection: Connection) -> tuple[AppliedRevision, ...]:
    """The last time each revision was applied here, in order; empty without schema `headway`."""
    if not connection.scalar(QUERIES["history_exists"]):
        return ()
    return tuple(
        AppliedRevision(revision=row.revision, position=row.position, checksum=row.checksum)
        for row in connection.execute(QUERIES["applied_history"])
    )
