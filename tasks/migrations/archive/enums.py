"""Values of an enum that a downgrade removes: who uses them, and another value in their place."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection

from tasks.errors import InputError
from tasks.migrations.archive.catalogue import read_table
from tasks.migrations.archive.model import EnumLabel, EnumUse, TableName
from tasks.migrations.archive.pieces import Piece, part_of
from tasks.migrations.archive.quiet import quiet
from tasks.migrations.archive.sql import EXACT, QUERIES, literal, quoted, run, settled


def enum_usage(connection: Connection, removed: Iterable[EnumLabel]) -> tuple[EnumUse, ...]:
    """How many rows of which columns use the values; only what is used is listed."""
    removed = tuple(removed)
    found = []
    for row in _columns(connection, removed):
        for label in _labels(removed, row):
            with settled(connection, **EXACT):
                rows = run(
                    connection,
                    f"SELECT count(*) FROM {_place(row)} AS t WHERE {_uses(row, [label])}",
                ).scalar_one()
            if rows:
                found.append(_use(row, label, int(rows)))
    return tuple(found)


def _use(row: Any, label: str, rows: int) -> EnumUse:
    return EnumUse(
        type_schema=row.enum_schema,
        type_name=row.enum_name,
        value=label,
        schema_name=row.schema_name,
        table=row.table_name,
        column=row.column_name,
        rows=rows,
    )


def map_enum_values(connection: Connection, mapping: Mapping[EnumLabel, str]) -> int:
    """Give rows that use a removed value the one that it is mapped to; returns how many.

    Call it between ``archive``, which keeps the values as they are, and the downgrade. Users'
    triggers do not fire.

    Raises:
        InputError: a value is mapped to one that goes too.
    """
    going = set(mapping)
    for (schema, name, label), replacement in mapping.items():
        if (schema, name, replacement) in going:
            raise InputError(
                f"{label!r} of {schema}.{name} cannot become {replacement!r}, which goes as well"
            )
    mapped = 0
    for row in _columns(connection, mapping):
        table = read_table(connection, (row.schema_name, row.table_name))
        if table is None:
            continue
        pairs = {
            label: mapping[row.enum_schema, row.enum_name, label] for label in _labels(mapping, row)
        }
        with quiet(connection, part_of(table, "enum", [row.column_name])):
            mapped += run(
                connection,
                f"UPDATE {_place(row)} AS t SET {quoted(row.column_name)} = {_mapped(row, pairs)} "
                f"WHERE {_uses(row, pairs)}",
            ).rowcount
    return mapped


def _mapped(row: Any, pairs: Mapping[str, str]) -> str:
    column = f"t.{quoted(row.column_name)}"
    if row.is_array:
        value = f"{column}::text[]"
        for label, replacement in pairs.items():
            value = f"array_replace({value}, {literal(label)}, {literal(replacement)})"
        return f"{value}::{row.type}"
    cases = " ".join(f"WHEN {literal(old)} THEN {literal(new)}" for old, new in pairs.items())
    return f"(CASE {column}::text {cases} ELSE {column}::text END)::{row.type}"


def pieces(
    connection: Connection, removed: Iterable[EnumLabel], dropped: Collection[TableName]
) -> Iterator[Piece]:
    """The rows that use a value which goes: kept with the value that they have."""
    removed = tuple(removed)
    for row in _columns(connection, removed):
        table = read_table(connection, (row.schema_name, row.table_name))
        if table is not None and table.place not in dropped:
            condition = _uses(row, _labels(removed, row))
            yield part_of(table, "enum", [row.column_name], condition=condition)


def _columns(connection: Connection, removed: Iterable[EnumLabel]) -> list[Any]:
    types = sorted({(schema, name) for schema, name, _ in removed})
    with settled(connection, search_path="pg_catalog"):
        return list(
            connection.execute(
                QUERIES["enum_columns"],
                {"schemas": [schema for schema, _ in types], "names": [name for _, name in types]},
            ).all()
        )


def _labels(removed: Iterable[EnumLabel], row: Any) -> list[str]:
    return [
        label
        for schema, name, label in removed
        if (schema, name) == (row.enum_schema, row.enum_name)
    ]


def _place(row: Any) -> str:
    name = quoted(row.schema_name, row.table_name)
    return name if row.is_partitioned else f"ONLY {name}"


def _uses(row: Any, labels: Iterable[str]) -> str:
    column, listed = f"t.{quoted(row.column_name)}", ", ".join(map(literal, labels))
    if row.is_array:
        return f"{column}::text[] && ARRAY[{listed}]"
    return f"{column}::text IN ({listed})"
