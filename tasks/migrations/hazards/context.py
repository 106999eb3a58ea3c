"""Asks the target's catalogue what the hazards of a plan depend on. Reads only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.migrations.hazards import looks
from tasks.migrations.hazards.model import RevisionSql
from tasks.migrations.hazards.reading import Before, Column, Context, Dependent, Table, read
from tasks.migrations.hazards.sql import UnreadableSql, plain_name
from tasks.migrations.hazards.statements import Statement

QUERIES = load_queries(__package__)
_SIMPLE = re.compile(r"[a-z_][a-z0-9_$]*")


def gather(
    connection: Connection,
    revisions: Sequence[RevisionSql],
    *,
    is_lock_timeout_armed: bool = True,
    version_table: str = "alembic_version",
) -> Context:
    """What the catalogue says of the tables, columns and types that the revisions name.

    Whether a dropped column or enum value is in use is looked up in the rows, for at most five
    seconds each; beyond that it stays unknown.
    """
    statements = tuple(_statements(revisions))
    names = sorted({name for statement in statements for name in statement.tables})
    enums = {
        plain_name(row.name): tuple(row.labels) for row in connection.execute(QUERIES["enums"])
    }
    uses = looks.uses_of_removed_labels(connection, statements, enums)
    return Context(
        is_known=True,
        is_fresh=bool(connection.scalar(QUERIES["is_fresh"], {"version_table": version_table})),
        is_lock_timeout_armed=is_lock_timeout_armed,
        server_major=int(connection.scalar(QUERIES["server_major"]) or 0),
        tables=_tables(connection, names, dict(looks.columns_with_values(connection, statements))),
        dependents=tuple(_dependents(connection, names)),
        enums=enums,
        enum_uses=uses or (),
        are_enum_uses_known=uses is not None,
    )


def _tables(
    connection: Connection, names: Sequence[str], has_values: dict[tuple[str, str], bool]
) -> dict[str, Table]:
    columns: dict[str, dict[str, Column]] = {name: {} for name in names}
    for row in connection.execute(QUERIES["columns_named"], {"names": names}):
        name = _written(row.column_name)
        columns[row.asked][name] = Column(
            type=row.type,
            is_nullable=row.is_nullable,
            is_proven_not_null=row.is_proven_not_null,
            has_values=has_values.get((row.asked, name)),
        )
    return {
        row.asked: Table(
            size_bytes=row.size_bytes,
            rows=row.estimated_rows,
            columns=columns[row.asked],
            primary_key=_written(row.primary_key) if row.primary_key else None,
        )
        for row in connection.execute(QUERIES["tables_named"], {"names": names})
    }


def _statements(revisions: Sequence[RevisionSql]) -> Iterator[Statement]:
    for revision in revisions:
        try:
            yield from read(revision, Context(), Before())[0].statements
        except UnreadableSql:  # the search for hazards says so
            continue


def _dependents(connection: Connection, names: Sequence[str]) -> Iterator[Dependent]:
    for row in connection.execute(QUERIES["dependents_named"], {"names": names}):
        yield Dependent(
            table=row.asked,
            column=_written(row.column_name) if row.column_name else None,
            kind=row.kind,
            name=plain_name(row.name),
        )


def _written(name: str) -> str:
    """A name of the catalogue as `plain_name` writes it."""
    return name if _SIMPLE.fullmatch(name) else f'"{name}"'
