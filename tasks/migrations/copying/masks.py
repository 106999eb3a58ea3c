"""Columns that a copy may not show: what is copied in their place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from psycopg import sql
from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import ConfigurationError

QUERIES = load_queries(__package__)
Mask = Literal["hash", "null"]
# By (root table, column): what COPY selects instead of the column.
Masks = Mapping[tuple[int, str], sql.Composable]
_MD5_LENGTH = 32
_UNIQUE_ENOUGH = 16
# How many hex digits of a hash fit into an integer, and its type in bits.
_INTEGERS = {"int2": (3, 12), "int4": (7, 28), "int8": (15, 60)}


def resolve(source: Connection, masks: Mapping[str, Mask]) -> Masks:
    """The expressions for these masks, by table and column.

    Raises:
        ConfigurationError: a mask names no column, or one whose values others depend on.
    """
    if not masks:
        return {}
    columns = source.execute(QUERIES["maskable_columns"]).mappings().all()
    resolved: dict[tuple[int, str], sql.Composable] = {}
    for name, mask in masks.items():
        found = [column for column in columns if name in _names(column)]
        if not found:
            raise ConfigurationError(f"the mask of {name!r} names no column of a table")
        for column in found:
            _require_maskable(name, mask, column)
            resolved[column["root"], column["column_name"]] = _expression(mask, column)
    return resolved


def _names(column: Mapping[Any, Any]) -> Iterable[str]:
    name = f"{column['table_name']}.{column['column_name']}"
    return name, f"{column['schema_name']}.{name}"


def _require_maskable(name: str, mask: Mask, column: Mapping[Any, Any]) -> None:
    problem = _problem(mask, column)
    if problem:
        raise ConfigurationError(f"{name!r} cannot be masked with {mask!r}: {problem}")


def _problem(mask: Mask, column: Mapping[Any, Any]) -> str | None:
    if column["is_key"]:
        return "it is part of a primary, foreign or partition key"
    if column["is_generated"]:
        return "it is generated; mask what it is made of"
    if mask == "null":
        return "it is NOT NULL; use hash" if column["is_not_null"] else None
    if column["category"] != "S" and column["base_type"] not in {*_INTEGERS, "uuid"}:
        return f"{column['type']} holds no hash; use null, or leave the table out (sample, none)"
    if column["is_unique"] and _length(column) < _UNIQUE_ENOUGH:
        return "it is unique, and too short for hashes that differ"
    return None


def _length(column: Mapping[Any, Any]) -> int:
    if column["base_type"] in _INTEGERS:
        return _INTEGERS[column["base_type"]][0]
    return min(column["length"] or _MD5_LENGTH, _MD5_LENGTH)


def _expression(mask: Mask, column: Mapping[Any, Any]) -> sql.Composable:
    if mask == "null":
        return sql.SQL("NULL")
    value = sql.Identifier(column["column_name"])
    digits = sql.SQL("left(md5({}::text), {})").format(value, sql.Literal(_length(column)))
    if column["base_type"] in _INTEGERS:
        bits = sql.SQL(str(_INTEGERS[column["base_type"]][1]))
        digits = sql.SQL("('x' || {})::bit({})::bigint").format(digits, bits)
    return sql.SQL("({})::{}").format(digits, sql.SQL(column["type"]))
