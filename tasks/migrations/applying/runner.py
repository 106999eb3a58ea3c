"""Run one revision on a live connection: by Alembic, but without the project's `env.py`.

So any Alembic project can be migrated: what its `env.py` would do for a connection, transactions
and the version table is done here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Any, NoReturn

from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, MigrationInfo, MigrationStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from tasks.errors import HeadwayError
from tasks.migrations.applying import invalid_indexes
from tasks.migrations.applying.statements import Statements
from tasks.migrations.project import Project
from tasks.migrations.revision_graph import content, history, late
from tasks.migrations.revision_graph.history import Occasion
from tasks.migrations.revision_graph.plan import Direction
from tasks.migrations.revision_graph.script_directory import script_directory


class CommitsByItself(HeadwayError):
    """A revision commits while it runs, so it cannot be part of another transaction."""


def move(
    connection: Connection,
    project: Project,
    revision: str,
    direction: Direction,
    occasion: Occasion | None = None,
    *,
    followed: Statements | None = None,
    before: Callable[[], None] = lambda: None,
    before_commit: Callable[[], None] = lambda: None,
) -> None:
    """Apply or undo exactly this revision, with its history row if there is an occasion.

    In the caller's transaction if the connection is in one, else in one of its own, which
    commits. The caller has checked that the database is where the revision starts. ``followed``
    journals the statements and makes sure of the migration lock; ``before`` is called in the
    transaction of the first statement, ``before_commit`` in that of the history row.

    Raises:
        CommitsByItself: it has an autocommit block, and the connection is in a transaction.
    """
    is_callers = connection.in_transaction()
    config = project.alembic_config()
    scripts = script_directory(project)
    step = _step(scripts, revision, direction)
    recorded = {revision: content.read_content(project, revision)} if occasion else {}
    late_ones: list[str] = []

    def only_this(heads: Collection[str], context: Any) -> Iterable[MigrationStep]:
        if is_callers:
            context.autocommit_block = _refuse_to_commit
        if direction == "upgrade" and late.is_late(scripts, revision, heads):
            late_ones.append(revision)
        if followed is not None:
            _follow(context, step, followed, before)
        return [step]

    def record(
        ctx: MigrationContext,
        step: MigrationInfo,
        heads: Collection[Any],  # noqa: ARG001 - Alembic passes it by name
        run_args: Mapping[str, Any],  # noqa: ARG001 - Alembic passes it by name
    ) -> None:
        for each in late_ones:
            late.leave_no_head(ctx, project, each)
        before_commit()
        if occasion is not None:
            history.record(ctx, step, occasion, recorded)
            invalid_indexes.require_valid(ctx, step)
        if followed is not None:
            followed.look()

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


def _follow(
    context: Any, step: MigrationStep, followed: Statements, before: Callable[[], None]
) -> None:
    change, open_block = step.migration_fn, context.autocommit_block

    @wraps(change)
    def change_followed(**options: Any) -> None:
        followed.locks.sends()
        before()
        with followed.following():
            change(**options)

    @contextmanager
    def open_block_followed() -> Iterator[None]:
        followed.before_commit()
        raised: list[Exception] = []
        try:
            with open_block(), _noted(raised):
                yield
        except Exception:
            # Leaving the block on a lost connection, Alembic raises another error over it.
            if not raised:
                raise
            raise raised[0] from raised[0].__cause__

    step.migration_fn = change_followed
    if open_block is not _refuse_to_commit:
        context.autocommit_block = open_block_followed


@contextmanager
def _noted(raised: list[Exception]) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raised.append(error)
        raise


def _refuse_to_commit() -> AbstractContextManager[NoReturn]:
    raise CommitsByItself("an autocommit block cannot be part of another transaction")
