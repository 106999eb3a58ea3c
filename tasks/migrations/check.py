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
from tasks.migrations import alembic_config, graph, project, runner
from tasks.migrations.environments import Target
from tasks.migrations.revisions import read_scripts

QUERIES = load_queries(__package__)


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

    @property
    def is_sound(self) -> bool:
        """True if nothing was found."""
        return not (self.drift or self.invalid_indexes or self.unvalidated_constraints)


def look(connection: Connection, target: Target) -> SchemaCheck:
    """Compare with `tasks.schema`; find invalid indexes and unvalidated constraints.

    Another project's schema is described nowhere but in its revisions: no comparison there.
    """
    scripts, _ = read_scripts(target.project)
    current = runner.current_heads(connection, target.project)
    is_at_head = set(current) == {script.revision for script in graph.heads(scripts)}
    is_described = is_at_head and target.project == project.own()
    return SchemaCheck(
        environment=target.name,
        current=current,
        drift=drift(connection) if is_described else None,
        invalid_indexes=tuple(connection.scalars(QUERIES["invalid_indexes"])),
        unvalidated_constraints=tuple(connection.scalars(QUERIES["unvalidated_constraints"])),
    )


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
