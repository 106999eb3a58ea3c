"""Complete a sample: fetch the rows that its foreign keys refer to, and what those refer to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from psycopg import sql
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.migrations.copying.masks import Masks
from tasks.migrations.copying.rows import column_list, driver, transfer

QUERIES = load_queries(__package__)
_KEYS_AT_ONCE = 5_000


class ForeignKey(BaseModel):
    """A foreign key; names of tables, types and operators are quoted, those of columns are not."""

    model_config = ConfigDict(frozen=True)

    child: str
    parent: str
    parent_rows: str
    parent_oid: int
    parent_columns: tuple[str, ...]
    child_columns: tuple[str, ...]
    key_columns: tuple[str, ...]
    types: tuple[str, ...]
    child_operators: tuple[str, ...]
    key_operators: tuple[str, ...]


def close(source: Connection, scratch: Connection, excluded: Sequence[str], masks: Masks) -> int:
    """Fetch missing parents until there is none that the source has; how many were fetched.

    Only the copy is asked what is missing, and the source only for rows by their keys. A key that
    was never valid may miss its parents in the source too.
    """
    found = source.execute(QUERIES["foreign_keys"], {"excluded": list(excluded)}).mappings()
    keys = [ForeignKey.model_validate(dict(row)) for row in found]
    total = 0
    while fetched := sum(_fetch(source, scratch, key, masks) for key in keys):
        total += fetched
    return total


def _fetch(source: Connection, scratch: Connection, key: ForeignKey, masks: Masks) -> int:
    fetched = 0
    with driver(scratch).cursor() as reading:
        missing = iter(reading.execute(_missing(key)).fetchall())
    while some := list(islice(missing, _KEYS_AT_ONCE)):
        query = _parents(key, some, masks)
        fetched += transfer(source, scratch, query, key.parent, key.parent_columns)
    return fetched


def _missing(key: ForeignKey) -> sql.Composable:
    child = [sql.Identifier("c", name) for name in key.child_columns]
    parent = [sql.Identifier("p", name) for name in key.key_columns]
    same = _all(
        sql.SQL("{} {} {}").format(p, sql.SQL(operator), c)
        for p, operator, c in zip(parent, key.child_operators, child, strict=True)
    )
    return sql.SQL(
        "SELECT DISTINCT {texts} FROM {child} AS c WHERE {known} "
        "AND NOT EXISTS (SELECT FROM {parent} AS p WHERE {same})"
    ).format(
        texts=sql.SQL(", ").join(sql.SQL("{}::text").format(column) for column in child),
        child=sql.SQL(key.child),
        known=_all(sql.SQL("{} IS NOT NULL").format(column) for column in child),
        parent=sql.SQL(key.parent_rows),
        same=same,
    )


def _parents(key: ForeignKey, values: Sequence[Sequence[str]], masks: Masks) -> sql.Composable:
    names = [sql.Identifier(f"k{number}") for number in range(len(key.types))]
    arrays = [
        sql.SQL("{}::text[]::{}[]").format(sql.Literal(list(column)), sql.SQL(type_))
        for column, type_ in zip(zip(*values, strict=True), key.types, strict=True)
    ]
    same = _all(
        sql.SQL("p.{} {} wanted.{}").format(sql.Identifier(column), sql.SQL(operator), name)
        for column, operator, name in zip(key.key_columns, key.key_operators, names, strict=True)
    )
    return sql.SQL(
        "SELECT {columns} FROM {parent} AS p "
        "WHERE EXISTS (SELECT FROM unnest({arrays}) AS wanted ({names}) WHERE {same})"
    ).format(
        columns=column_list(key.parent_columns, key.parent_oid, masks),
        parent=sql.SQL(key.parent_rows),
        arrays=sql.SQL(", ").join(arrays),
        names=sql.SQL(", ").join(names),
        same=same,
    )


def _all(conditions: Iterable[sql.Composable]) -> sql.Composed:
    return sql.SQL(" AND ").join(conditions)
