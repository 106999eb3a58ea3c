"""What the catalogue knows of tables that something will be taken from."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from tasks.migrations.archive.model import Effect, TableName
from tasks.migrations.archive.pieces import Table
from tasks.migrations.archive.sql import QUERIES, settled


def find_tables(connection: Connection, effect: Effect) -> tuple[Table, ...]:
    """The tables of an effect that exist and hold rows."""
    columns = (*effect.dropped_columns, *effect.narrowed_columns)
    named = {*effect.dropped_tables, *effect.dml_tables, *((s, t) for s, t, _ in columns)}
    return read_tables(connection, named)


def read_tables(connection: Connection, named: Iterable[TableName]) -> tuple[Table, ...]:
    """The tables of these names that exist and hold rows; types are written out in full."""
    wanted = sorted(set(named))
    with settled(connection, search_path="pg_catalog"):
        rows = connection.execute(
            QUERIES["tables"],
            {"schemas": [schema for schema, _ in wanted], "names": [name for _, name in wanted]},
        ).mappings()
        return tuple(Table.model_validate(dict(row)) for row in rows)


def read_table(connection: Connection, place: TableName) -> Table | None:
    """One table as it is now; None if there is no such table."""
    return next(iter(read_tables(connection, [place])), None)
