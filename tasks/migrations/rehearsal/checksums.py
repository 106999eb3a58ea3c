"""Checksums of a database's rows, per column: they show a value that got lost or came out other.

They read every row, so they are for copies only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from psycopg import sql
from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.migrations.rehearsal.model import TableChecksum

QUERIES = load_queries(__package__)


def take_checksums(
    connection: Connection,
    *,
    schemas: Sequence[str] | None = None,
    version_table: tuple[str | None, str] = (None, "alembic_version"),
) -> dict[str, TableChecksum]:
    """Rows and column checksums of every table, in a transaction of their own.

    A value is summed up together with the primary key of its row, where there is one, so that two
    rows that swap their values show.
    """
    cursor = _driver(connection).cursor()
    with connection.begin():
        tables = connection.execute(QUERIES["checksum_tables"]).mappings().all()
        connection.execute(QUERIES["settle_values"])
        return {
            table["name"]: _checksum(cursor, table)
            for table in tables
            if _is_included(table, schemas, version_table)
        }


def differing(
    before: Mapping[str, TableChecksum], after: Mapping[str, TableChecksum]
) -> tuple[str, ...]:
    """Columns (and tables, if the number of rows changed) that both have and that differ."""
    return tuple(sorted(_differing(before, after)))


def _differing(
    before: Mapping[str, TableChecksum], after: Mapping[str, TableChecksum]
) -> Iterator[str]:
    for name in before.keys() & after.keys():
        if before[name].rows != after[name].rows:
            yield f"{name} ({before[name].rows} rows, then {after[name].rows})"
        mine, others = before[name].columns, after[name].columns
        yield from (f"{name}.{c}" for c in mine.keys() & others.keys() if mine[c] != others[c])


def _is_included(
    table: Mapping[Any, Any],
    schemas: Sequence[str] | None,
    version_table: tuple[str | None, str],
) -> bool:
    schema, name = version_table
    is_version_table = table["table_name"] == name and schema in (None, table["schema_name"])
    return not is_version_table and (schemas is None or table["schema_name"] in schemas)


def _checksum(cursor: Any, table: Mapping[Any, Any]) -> TableChecksum:
    key = [sql.Identifier("t", name) for name in table["key_columns"]]
    sums = [_sum([*key, sql.Identifier("t", name)]) for name in table["columns"]]
    query = sql.SQL("SELECT {} FROM {}{} AS t").format(
        sql.SQL(", ").join([sql.SQL("count(*)"), *sums]),
        sql.SQL("" if table["is_partitioned"] else "ONLY "),
        sql.SQL(table["name"]),
    )
    rows, *found = cursor.execute(query).fetchone()
    values = (value or "" for value in found)
    return TableChecksum(rows=rows, columns=dict(zip(table["columns"], values, strict=True)))


def _sum(values: Iterable[sql.Composable]) -> sql.Composable:
    hashed = sql.SQL("sum(hashtextextended(ROW({})::text, 0)::numeric)::text")
    return hashed.format(sql.SQL(", ").join(values))


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection
