"""Does a database have the schema that its revisions should have given it?"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection
from sqlalchemy.exc import SAWarning

from tasks import schema
from tasks.database import load_queries
from tasks.migrations import project
from tasks.migrations.drift import expected, rebuild
from tasks.migrations.environments import Target
from tasks.migrations.fingerprint import Fingerprint
from tasks.migrations.revision_graph import graph
from tasks.migrations.revision_graph.heads import current_heads
from tasks.migrations.revision_graph.reading import read_scripts
from tasks.migrations.validation import alembic_config, table_checks
from tasks.validation import ValidationSummary

QUERIES = load_queries("tasks.migrations.applying")


class SchemaCheck(BaseModel):
    """What a look at the schema found.

    ``drift`` is None where the database is not at the scripts' head: `tasks.schema` describes the
    head, so the difference would say nothing.
    """

    model_config = ConfigDict(frozen=True)

    environment: str
    current: tuple[str, ...]
    drift: tuple[str, ...] | None
    invalid_indexes: tuple[str, ...] = ()
    unvalidated_constraints: tuple[str, ...] = ()
    schema_hash: str | None = None
    rehearsed_hash: str | None = None
    suites: tuple[ValidationSummary, ...] = ()

    @property
    def is_sound(self) -> bool:
        """True if nothing was found."""
        return not (
            self.drift
            or self.invalid_indexes
            or self.unvalidated_constraints
            or self.is_as_rehearsed is False
            or self.failed_suites
        )

    @property
    def is_as_rehearsed(self) -> bool | None:
        """Is the schema what the rehearsal made of it? None if nothing was rehearsed."""
        return None if self.rehearsed_hash is None else self.schema_hash == self.rehearsed_hash

    @property
    def failed_suites(self) -> tuple[str, ...]:
        """Suites of which an expectation of severity `critical` failed."""
        return tuple(found.suite for found in self.suites if found.has_critical_failure)


def look(connection: Connection, target: Target) -> SchemaCheck:
    """Compare with `tasks.schema`; find invalid indexes and unvalidated constraints.

    Another project's schema is described nowhere but in its revisions: no comparison there.
    """
    scripts, _ = read_scripts(target.project)
    current = current_heads(connection, target.project)
    is_at_head = set(current) == {script.revision for script in graph.heads(scripts)}
    is_described = is_at_head and target.project == project.own()
    return SchemaCheck(
        environment=target.name,
        current=current,
        drift=drift(connection) if is_described else None,
        invalid_indexes=tuple(connection.scalars(QUERIES["invalid_indexes"])),
        unvalidated_constraints=tuple(connection.scalars(QUERIES["unvalidated_constraints"])),
    )


def verify(
    connection: Connection,
    target: Target,
    *,
    rehearsed_hash: str | None = None,
    before: Fingerprint | None = None,
    run_id: str | None = None,
) -> SchemaCheck:
    """Look at a database after its revisions ran, and commit what is expected of it from now on.

    The fingerprint is recorded unless it is not what was rehearsed. Suites run for the tables
    that differ from ``before`` (without it: for none).
    """
    found = look(connection, target)
    fingerprint = rebuild.fingerprint(connection, target.project)
    update: dict[str, Any] = {"schema_hash": fingerprint.hash, "rehearsed_hash": rehearsed_hash}
    if before is not None:
        changed = table_checks.changed_tables(before, fingerprint)
        update["suites"] = table_checks.validate(connection, target, changed)
    checked = found.model_copy(update=update)
    if checked.is_as_rehearsed is not False:
        expected.record(connection, found.current, fingerprint, "migrated", run_id)
    connection.commit()
    return checked


def drift(connection: Connection) -> tuple[str, ...]:
    """The differences that Alembic sees between `tasks.schema` and the database, in words."""
    options = alembic_config.comparison_options()
    context = MigrationContext.configure(connection, opts=options)
    with warnings.catch_warnings():
        # SQLAlchemy stumbles over its own reflection of a CHECK that is NOT VALID.
        warnings.filterwarnings("ignore", "Can't validate argument 'dialect_options'", SAWarning)
        return tuple(_words(compare_metadata(context, schema.metadata)))


def _words(differences: Iterable[Any]) -> Iterable[str]:
    for difference in differences:
        if isinstance(difference, list):
            yield from _words(difference)
            continue
        kind, *where = difference
        named = ".".join(str(getattr(part, "name", part)) for part in where if _is_name(part))
        yield f"{kind.replace('_', ' ')}: {named}"


def _is_name(part: object) -> bool:
    return isinstance(part, str) or bool(getattr(part, "name", None))
