"""One way through a plan on a copy: each revision measured, and the database after each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tasks.database import explain
from tasks.migrations.fingerprint import compare, take
from tasks.migrations.fingerprint.model import Fingerprint
from tasks.migrations.project import Project
from tasks.migrations.rehearsal import effects
from tasks.migrations.rehearsal.checksums import differing, take_checksums
from tasks.migrations.rehearsal.locks import tables_to_wait_for
from tasks.migrations.rehearsal.measure import Trace, measuring
from tasks.migrations.rehearsal.model import (
    Failure,
    MeasuredStatement,
    RevisionEffect,
    TableChecksum,
)
from tasks.migrations.revision_graph.plan import Direction

Move = Callable[[Connection, Project, str], None]
_SHOWN = 2_000


@dataclass(frozen=True, slots=True)
class Stage:
    """A database at one moment: its schema, and its rows as checksums."""

    fingerprint: Fingerprint
    checksums: dict[str, TableChecksum]


@dataclass(slots=True)
class Pass:
    """What came of one way: ``stages`` has the one before the first revision, then one for each."""

    direction: Direction
    stages: list[Stage]
    done: list[str] = field(default_factory=list)
    statements: list[MeasuredStatement] = field(default_factory=list)
    effects: list[RevisionEffect] = field(default_factory=list)
    failure: Failure | None = None

    def before(self, revision: str) -> Stage:
        """The database before this revision of those that are done."""
        return self.stages[self.done.index(revision)]

    def after(self, revision: str) -> Stage:
        """The database after it."""
        return self.stages[self.done.index(revision) + 1]

    def is_idle(self, revision: str) -> bool:
        """True if the revision sent no statement."""
        return not any(each.revision == revision for each in self.statements)


def run_pass(
    connection: Connection,
    project: Project,
    revisions: Iterable[str],
    direction: Direction,
    move: Move,
    name: str | None = None,
    *,
    first: Stage | None = None,
) -> Pass:
    """Run the revisions until one fails; the connection is in no transaction.

    ``first`` is the database before that, where it is known. Nobody waits for tables that the
    revisions make: their locks do not count.
    """
    found = Pass(direction, [first or stage(connection, project)])
    before = effects.look(connection, project.version_table)
    table = project.version_table
    waited_for = tables_to_wait_for(connection)
    for revision in revisions:
        with measuring(
            connection, revision, direction, version_table=table, waited_for=waited_for
        ) as trace:
            found.failure = _try(connection, project, revision, move, trace, name or direction)
        found.statements += trace.statements
        if found.failure:
            break
        after = effects.look(connection, project.version_table)
        found.done.append(revision)
        found.effects.append(effects.effect(before, after, trace, revision, direction))
        found.stages.append(stage(connection, project))
        before = after
    return found


def stage(connection: Connection, project: Project) -> Stage:
    """The database as it is now."""
    version_table = (project.version_table_schema, project.version_table)
    sums = take_checksums(connection, schemas=project.schemas, version_table=version_table)
    return Stage(fingerprint_of(connection, project), sums)


def fingerprint_of(connection: Connection, project: Project) -> Fingerprint:
    """The fingerprint of what the project describes."""
    return take(
        connection,
        schemas=project.schemas,
        ignore=project.ignore,
        version_table=(project.version_table_schema, project.version_table),
    )


def schema_differences(expected: Stage, actual: Stage) -> tuple[str, ...]:
    """What is not as it was in the schema, in words; without what is information only."""
    found = compare(expected.fingerprint, actual.fingerprint)
    return tuple(each.text for each in found if not each.is_information)


def lost_values(expected: Stage, actual: Stage, besides: Sequence[str] = ()) -> tuple[str, ...]:
    """Columns and tables whose rows are not as they were, without those that are known to vary."""
    vary = {each.partition(" (")[0] for each in besides}
    found = differing(expected.checksums, actual.checksums)
    return tuple(each for each in found if each.partition(" (")[0] not in vary)


def _try(
    connection: Connection, project: Project, revision: str, move: Move, trace: Trace, name: str
) -> Failure | None:
    statement = sqlstate = None
    try:
        move(connection, project, revision)
    except DBAPIError as error:
        statement, said = error.statement, explain(error)
        sqlstate = getattr(error.orig, "sqlstate", None)
    except Exception as error:  # the revision's own code: whatever it raises is a finding
        said = f"{type(error).__name__}: {error}"
    else:
        return None
    connection.rollback()
    return Failure(
        revision=revision,
        direction=trace.direction,
        pass_name=name,
        statement=statement[:_SHOWN] if statement else None,
        sqlstate=sqlstate,
        message=said,
    )
