"""Rows of one database loaded into another as they are: COPY out, COPY in, nothing kept here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import sql
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.migrations.copying.masks import Masks

QUERIES = load_queries(__package__)
_MANY_TIMES = 20  # a table this much larger than its sample is not read as a whole


class Table(BaseModel):
    """A table that holds rows, and the columns that can be loaded; ``name`` is quoted."""

    model_config = ConfigDict(frozen=True)

    oid: int
    root: int
    schema_name: str
    table_name: str
    name: str
    estimated_rows: float
    columns: tuple[str, ...]
    key_columns: tuple[str, ...]


def tables(source: Connection, excluded: Sequence[str]) -> tuple[Table, ...]:
    """The tables whose rows a copy needs, in the order of their names."""
    found = source.execute(QUERIES["tables"], {"excluded": list(excluded)}).mappings()
    return tuple(Table.model_validate(dict(row)) for row in found)


def everything(table: Table, masks: Masks) -> sql.Composable:
    """The query for all rows of a table."""
    return _select(table, masks)


def some(table: Table, masks: Masks, rows: int) -> sql.Composable:
    """The query for a sample: the same rows each time, whatever their order in the table."""
    limit = sql.Literal(rows)
    if table.estimated_rows > rows * _MANY_TIMES:
        percent = sql.Literal(min(100.0, 200.0 * rows / table.estimated_rows))
        sampled = sql.SQL(" TABLESAMPLE SYSTEM ({}) REPEATABLE (0) LIMIT {}")
        return _select(table, masks) + sampled.format(percent, limit)
    key = sql.SQL(", ").join(map(sql.Identifier, table.key_columns)) or sql.SQL("t.*")
    ordered = sql.SQL(" AS t ORDER BY md5(ROW({})::text), ROW({})::text LIMIT {}")
    return _select(table, masks) + ordered.format(key, key, limit)


def transfer(
    source: Connection,
    scratch: Connection,
    query: sql.Composable,
    into: str,
    columns: Sequence[str],
) -> int:
    """Load what the query answers into a table of the copy; how many rows there were."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    load = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.SQL(into), names)
    with driver(source).cursor() as reading, driver(scratch).cursor() as writing:
        read = sql.SQL("COPY ({}) TO STDOUT").format(query)
        with reading.copy(read) as blocks, writing.copy(load) as target:
            for block in blocks:
                target.write(block)
        return int(writing.rowcount)


def carry_sequences(source: Connection, scratch: Connection, excluded: Sequence[str]) -> None:
    """Let the copy's sequences stand where the source's do."""
    names = source.scalars(QUERIES["sequences"], {"excluded": list(excluded)}).all()
    if not names:
        return
    part = sql.SQL("SELECT {}::text, last_value, is_called FROM {}")
    states = [part.format(sql.Literal(name), sql.SQL(name)) for name in names]
    with driver(source).cursor() as reading, driver(scratch).cursor() as writing:
        found = reading.execute(sql.SQL(" UNION ALL ").join(states)).fetchall()
        writing.executemany("SELECT setval(%s::regclass, %s, %s)", found)


def driver(connection: Connection) -> Any:
    """psycopg's own connection, for what SQLAlchemy has no words for."""
    return connection.connection.driver_connection


def column_list(columns: Sequence[str], root: int, masks: Masks) -> sql.Composable:
    """The columns as they are selected, the masked ones as their masks say."""
    return sql.SQL(", ").join(masks.get((root, each), sql.Identifier(each)) for each in columns)


def _select(table: Table, masks: Masks) -> sql.Composable:
    listed = column_list(table.columns, table.root, masks)
    return sql.SQL("SELECT {} FROM ONLY {}").format(listed, sql.SQL(table.name))
