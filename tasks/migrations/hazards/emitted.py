"""The SQL that a revision would send, statement by statement, without a database."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import Script as AlembicScript

from tasks.migrations.hazards.model import EmittedStatement, Measured, RevisionSql
from tasks.migrations.hazards.scripts import downgrade_of, imports
from tasks.migrations.hazards.sql import normalise, split, split_sent
from tasks.migrations.project import Project
from tasks.migrations.revision_graph import content
from tasks.migrations.revision_graph.plan import Direction
from tasks.migrations.revision_graph.reading import read_scripts
from tasks.migrations.revision_graph.script_directory import script_directory

_ALONE = re.compile(r"(?:create|drop|alter|reindex)\b.*\bconcurrently\b|vacuum\b")
_LIBRARIES = {"alembic", "sqlalchemy", *sys.stdlib_module_names}


def render(project: Project, revision: str, direction: Direction = "upgrade") -> RevisionSql:
    """The revision's statements, each with its transaction, and what its file shows besides.

    Where it cannot be written down without a database, ``is_readable`` is false.

    Raises:
        LookupError: no file defines the revision.
    """
    script = script_directory(project).get_revision(revision)
    if script is None:
        raise LookupError(revision)
    source = Path(script.path).read_text("utf-8")
    said = next(each for each in read_scripts(project)[0] if each.revision == revision)
    try:
        with content.ONE_AT_A_TIME:
            statements, is_readable = _statements(script, direction), True
    except Exception:  # the revision's own code: whatever it raises, it cannot be written down
        statements, is_readable = (), False
    return RevisionSql(
        revision=revision,
        file=Path(script.path).name,
        direction=direction,
        statements=statements,
        is_readable=is_readable,
        imports=imports(source, lambda module: _is_application(project, module)),
        downgrade=downgrade_of(source),
        irreversible=said.irreversible,
        lossy=said.lossy,
    )


def from_measured(revision: RevisionSql, measured: Iterable[Measured]) -> RevisionSql:
    """The same revision with the statements that a rehearsal has seen it send (the first time)."""
    first: dict[int, Measured] = {}
    for each in measured:
        if (each.revision, each.direction) == (revision.revision, revision.direction):
            first.setdefault(each.position, each)
    sent = (statement for each in first.values() for statement in split_sent(each.sql))
    return revision.model_copy(update={"statements": tuple(_seen(sent))})


def _seen(sent: Iterable[str]) -> Iterator[EmittedStatement]:
    number = 1
    for sql in sent:
        is_alone = bool(_ALONE.match(normalise(sql)))  # Postgres takes it nowhere else
        yield EmittedStatement(sql=sql, transaction=None if is_alone else number)
        number += is_alone


def _statements(script: AlembicScript, direction: Direction) -> tuple[EmittedStatement, ...]:
    found: list[EmittedStatement] = []
    number = 1
    current: int | None = number
    context = MigrationContext.configure(
        dialect_name="postgresql",
        dialect_opts={"paramstyle": "named"},
        opts={"as_sql": True, "output_buffer": io.StringIO(), "literal_binds": True},
    )

    def send(text: str) -> None:
        found.extend(EmittedStatement(sql=each, transaction=current) for each in split(text))

    def commit() -> None:
        nonlocal current
        current = None

    def begin() -> None:
        nonlocal number, current
        number += 1
        current = number

    # So an autocommit block is told apart from a COMMIT that the revision sends itself.
    implementation = context.impl
    implementation.static_output = send  # type: ignore[method-assign]
    implementation.emit_commit = commit  # type: ignore[method-assign]
    implementation.emit_begin = begin  # type: ignore[method-assign]
    with Operations.context(context):
        getattr(script.module, direction)()
    return tuple(found)


def _is_application(project: Project, module: str) -> bool:
    """True if the module lies beside the folder of the revisions, or is somebody's models."""
    top, *rest = module.split(".")
    if top in _LIBRARIES or top == project.script_location.name:
        return False
    beside = project.script_location.parent
    is_beside = (beside / top).is_dir() or (beside / f"{top}.py").is_file()
    return is_beside or "models" in (top, *rest)
