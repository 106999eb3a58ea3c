"""The steps that make a change: move one revision, and look at what came of it.

The DDL happens in the environment's own database, together with its history row; the step's
transaction is in the control database. So each move is journalled as an effect, and a run that
died in between finds out from the history whether it had happened.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from tasks.ledger import current_run, effect, step
from tasks.migrations import archive, environments
from tasks.migrations.applying import moves
from tasks.migrations.applying.moves import Moved
from tasks.migrations.archive import Archived, mapped_values
from tasks.migrations.rehearsal.model import Rehearsal, RevisionEffect
from tasks.migrations.revision_graph import records, stored
from tasks.migrations.revision_graph.history import Occasion
from tasks.migrations.validation import validating
from tasks.migrations.validation.validating import Validated


@step(key="{environment}:{revision}")
def apply_revision(
    tx: Connection,
    environment: str,
    revision: str,
    predicted_lock_ms: dict[str, float] | None = None,
    terminate_orphans: bool = False,
) -> Moved:
    """Apply one revision to the environment's database, and bring back what was archived of it.

    The DDL and its row in `headway.migration_run` are one transaction. It waits for locks at most
    `lock_timeout_seconds` and is then tried again; the error names the session in the way.
    """
    _wait_without_snapshot(tx)
    return effect(
        "upgrade",
        {"environment": environment, "revision": revision},
        act=lambda: moves.upgrade(
            environment,
            revision,
            predicted_lock_ms=predicted_lock_ms,
            terminate_orphans=terminate_orphans,
        ),
        probe=lambda: moves.find_upgrade(environment, revision),
        returns=Moved,
    )


@step(key="{environment}:{revision}")
def roll_back_revision(
    tx: Connection,
    environment: str,
    revision: str,
    taken: RevisionEffect,
    mapped: dict[str, str] | None = None,
    stored_only: tuple[str, ...] = (),
) -> Moved:
    """Undo one revision; what it takes away is archived in the transaction of its DDL.

    `taken` is what the rehearsal saw it take away. Rows are copied before, and brought up to
    date once nobody can write any more.
    """

    def undo() -> Moved:
        with stored.used(environment, stored_only):
            return moves.downgrade(
                environment,
                revision,
                taken,
                predicted_lock_ms=taken.lock_ms,
                mapped_values=mapped_values.of_labels(mapped or {}, taken.removed_enum_values),
            )

    _wait_without_snapshot(tx)
    return effect(
        "downgrade",
        {"environment": environment, "revision": revision},
        act=undo,
        probe=lambda: moves.find(environment, revision, "downgrade"),
        returns=Moved,
    )


@step(key="{environment}")
def archive_database(tx: Connection, environment: str) -> Archived:  # noqa: ARG001 - elsewhere
    """Copy every table with rows to schema `headway_archive`, before a reset; nobody is blocked."""
    target, run = environments.find(environment), current_run()
    project = target.project
    engine = environments.engine(target.url)
    return effect(
        "archive",
        {"environment": environment},
        act=lambda: archive.archive_everything(
            engine,
            environment,
            run.id,
            schemas=project.schemas,
            ignore=project.ignore,
            version_table=(project.version_table_schema, project.version_table),
        ),
        probe=lambda: archive.find_everything(engine, environment, run.id),
        returns=Archived,
    )


@step(key="{environment}:{after}")
def validate_schema(
    tx: Connection,
    environment: str,
    after: str,  # noqa: ARG001 - part of the key
    before: tuple[str, ...] = (),
    moved: tuple[Moved, ...] = (),
    rehearsal: Rehearsal | None = None,
) -> Validated:
    """Compare the schema with what was rehearsed, and the changed tables with their suites.

    Lists invalid indexes and constraints that were never validated too, and keeps what the schema
    is from now on. Says whether to keep what was done, to roll it back, or to stop. `before` are
    the heads at which the run began, `after` names what was just done.
    """
    return validating.validate(tx, environment, before, moved, rehearsal)


@step(key="{environment}")
def accept_reformatting(
    tx: Connection,  # noqa: ARG001 - elsewhere
    environment: str,
    revisions: tuple[str, ...],
) -> tuple[str, ...]:
    """Record that the files of applied revisions were reformatted, and say the same as before."""
    target, run = environments.find(environment), current_run()
    with environments.engine(target.url).begin() as connection:
        return records.record_cosmetic(
            connection,
            target.project,
            revisions,
            Occasion(environment, run.id, run.actor, run.reason),
        )


def _wait_without_snapshot(tx: Connection) -> None:
    # While the DDL runs elsewhere this transaction only waits. The server must not end it for
    # that; and the portal of its last SELECT, which a command like this one replaces, would keep
    # a snapshot that CREATE INDEX CONCURRENTLY waits for when both databases are the same.
    tx.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
