"""Move one revision of an environment's database up or down, safely. No ledger here.

Every move holds the migration lock of that database, looks where the database is *under* the
lock, and commits the DDL together with its history row.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks import runs
from tasks.database import control_engine, load_queries
from tasks.errors import Reason, Refused
from tasks.migrations import environments
from tasks.migrations.applying import failures, lock_times, opening, runner, session
from tasks.migrations.applying.keeping import Keeper, Restorer
from tasks.migrations.applying.lock_times import LockTime
from tasks.migrations.applying.statement_journal import Place
from tasks.migrations.applying.statements import Statements
from tasks.migrations.archive.model import Archived, Effect, EnumLabel, Restored
from tasks.migrations.revision_graph import graph
from tasks.migrations.revision_graph.evidence import applied_revisions
from tasks.migrations.revision_graph.plan import Direction
from tasks.migrations.revision_graph.reading import read_scripts

QUERIES = load_queries(__package__)
_logger = logging.getLogger("headway.migrations")
Outcome = Literal["done", "already", "refused"]


class Moved(BaseModel):
    """What became of one revision.

    ``already`` means that another run had moved the database before this one could. ``refused``
    means that nothing was done, for the reasons given.
    """

    model_config = ConfigDict(frozen=True)

    environment: str
    revision: str
    direction: Direction
    outcome: Outcome
    started_at: datetime | None = None
    finished_at: datetime | None = None
    archived: Archived | None = None
    restored: Restored | None = None
    reasons: tuple[Reason, ...] = ()

    @property
    def seconds(self) -> float | None:
        """How long the revision's transaction took."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()

    def require_not_refused(self) -> None:
        """Raise Refused with the reasons if the revision was not moved because of them."""
        if self.outcome == "refused":
            raise Refused(f"{self.direction} of {self.revision}", self.reasons)


def upgrade(
    environment: str,
    revision: str,
    *,
    predicted_lock_ms: Mapping[str, float] | None = None,
    terminate_orphans: bool = False,
) -> Moved:
    """Apply a revision, and bring back what its last rollback archived; `already` if it is applied.

    The locks that it held are written beside those that a rehearsal predicted (by table).
    ``terminate_orphans``: a session of Headway's that still migrates after the wait is ended.

    Raises:
        LockNotAcquired: a lock was not free within the timeout; the message names its holder.
        FenceLost: the migration lock was lost while the revision ran.
        Refused: what the revision builds on is not applied (any more), or statements that were
            done and committed by an earlier try are not those of the revision.
        EffectUnknown: nothing shows whether a statement of an earlier try happened.
    """
    with (
        opening.connected(environment) as connection,
        opening.locked(connection, revision, terminate_orphans) as held,
    ):
        applied = _applied(connection, environment)
        connection.rollback()
        is_done = revision in applied
        if not is_done:
            _require_below(environment, revision, applied)
        keeper = Restorer(connection, environment, revision)
        if is_done:
            keeper.after_crash()
            already = _moved(environment, revision, "upgrade", "already")
            return _with_restored(already, keeper)
        followed = Statements(connection, held, _place(environment, revision, "upgrade"))
        locks = _run(connection, environment, revision, "upgrade", followed, keeper)
        keeper.after_commit()
        done = _found(connection, environment, revision, "upgrade")
    _record(environment, revision, "upgrade", locks, predicted_lock_ms or {})
    _logger.info("%s: applied %s", environment, revision)
    return _with_restored(done or _moved(environment, revision, "upgrade", "done"), keeper)


def find_upgrade(environment: str, revision: str) -> Moved | None:
    """What this run has already applied; rows that waited for its commit are brought back now."""
    found = find(environment, revision, "upgrade")
    if found is None:
        return None
    with (
        opening.connected(environment) as connection,
        opening.locked(connection, revision, terminate_orphans=False),
    ):
        keeper = Restorer(connection, environment, revision)
        keeper.after_crash()
    return _with_restored(found, keeper)


def _with_restored(moved: Moved, keeper: Restorer) -> Moved:
    has_parts = keeper.restored is not None and keeper.restored.parts
    return moved.model_copy(update={"restored": keeper.restored if has_parts else None})


def _run(
    connection: Connection,
    environment: str,
    revision: str,
    direction: Direction,
    followed: Statements,
    keeper: Keeper | Restorer,
) -> tuple[LockTime, ...]:
    project, occasion = environments.find(environment).project, opening.occasion(environment)
    with (
        failures.recorded(connection.engine, project, revision, direction, occasion),
        session.explained(connection),
    ):
        runner.move(
            connection,
            project,
            revision,
            direction,
            occasion,
            followed=followed,
            before=keeper.before,
            before_commit=keeper.after,
        )
    return followed.locks.stop(without=project.version_table)


def _record(
    environment: str,
    revision: str,
    direction: Direction,
    locks: tuple[LockTime, ...],
    predicted_ms: Mapping[str, float],
) -> None:
    run_id = runs.current_run().id
    with control_engine().begin() as tx:
        lock_times.record(tx, environment, revision, direction, locks, predicted_ms, run_id)


def _place(environment: str, revision: str, direction: Direction) -> Place:
    return Place(environment, revision, direction, runs.current_run().id)


def downgrade(
    environment: str,
    revision: str,
    effect: Effect,
    *,
    predicted_lock_ms: Mapping[str, float] | None = None,
    terminate_orphans: bool = False,
    mapped_values: Mapping[EnumLabel, str] | None = None,
) -> Moved:
    """Undo a revision, and archive what goes; `already` if it is not applied.

    ``effect`` is what a rehearsal saw it take away. That is copied before, brought up to date in
    the transaction of the DDL and completed there; a downgrade that commits while it runs takes
    its archive along in its first transaction. ``mapped_values`` say what rows get instead of an
    enum value that goes.

    Raises:
        LockNotAcquired: a lock was not free within the timeout; the message names its holder.
        FenceLost: the migration lock was lost while the revision ran.
        Refused: something of others (a view, a foreign key) builds on what would go.
        EffectUnknown: nothing shows whether a statement of an earlier try happened.
    """
    with (
        opening.connected(environment) as connection,
        opening.locked(connection, revision, terminate_orphans) as held,
    ):
        is_applied = revision in _applied(connection, environment)
        connection.rollback()
        if not is_applied:
            return _moved(environment, revision, "downgrade", "already")
        keeper = Keeper(connection, environment, revision, effect, mapped_values or {})
        place = _place(environment, revision, "downgrade")
        followed = Statements(connection, held, place, at_commit=keeper.before_block)
        keeper.copy(is_resumed=followed.is_resumed())
        locks = _run(connection, environment, revision, "downgrade", followed, keeper)
        done = _found(connection, environment, revision, "downgrade")
    _record(environment, revision, "downgrade", locks, predicted_lock_ms or {})
    _logger.info("%s: rolled back %s", environment, revision)
    done = done or _moved(environment, revision, "downgrade", "done")
    has_parts = keeper.archived is not None and keeper.archived.parts
    return done.model_copy(update={"archived": keeper.archived if has_parts else None})


def _applied(connection: Connection, environment: str) -> frozenset[str]:
    return applied_revisions(connection, environments.find(environment).project)


def _require_below(environment: str, revision: str, applied: frozenset[str]) -> None:
    # What is applied was read under the lock: somebody may have rolled back since the plan.
    scripts, _ = read_scripts(environments.find(environment).project)
    missing = graph.with_ancestors(scripts, [revision]) - applied - {revision}
    if missing:
        reason = Reason(
            "plan-is-stale",
            f"{revision} builds on {', '.join(sorted(missing))}, which {environment!r} no longer "
            "has: it was rolled back since the plan was made; run again for a new plan",
        )
        raise Refused(f"upgrade of {environment}", [reason])


def find(environment: str, revision: str, direction: Direction) -> Moved | None:
    """What this run has already done to the revision, from the history; None if nothing."""
    with opening.connected(environment) as connection:
        if not connection.scalar(QUERIES["history_exists"]):
            return None
        return _found(connection, environment, revision, direction)


def _found(
    connection: Connection, environment: str, revision: str, direction: Direction
) -> Moved | None:
    row = connection.execute(
        QUERIES["run_of_revision"],
        {"run_id": runs.current_run().id, "revision": revision, "direction": direction},
    ).first()
    if row is None:
        return None
    times = {"started_at": row.started_at, "finished_at": row.finished_at}
    return _moved(environment, revision, direction, "done").model_copy(update=times)


def _moved(
    environment: str,
    revision: str,
    direction: Direction,
    outcome: Outcome,
) -> Moved:
    return Moved(environment=environment, revision=revision, direction=direction, outcome=outcome)
