"""Looks for the rows that a pending statement would fail on. Reads only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tasks.database import load_queries
from tasks.errors import HeadwayError
from tasks.migrations import duplicates
from tasks.migrations.demands import Demand
from tasks.migrations.preflight import Unchecked, Violation, ViolationCode
from tasks.migrations.sample import SAMPLE, Sample

QUERIES = load_queries(__package__, "preflight.sql")
LOOK_MS = 30_000
_RANGES = {"smallint": 15, "int2": 15, "integer": 31, "int": 31, "int4": 31, "bigint": 63}
_CODES: dict[str, ViolationCode] = {
    "not-null": "null-values",
    "no-rows": "null-values",
    "unique": "duplicate-values",
    "foreign-key": "orphan-rows",
    "check": "check-violations",
    "type": "values-do-not-fit",
}
_LENGTH = re.compile(r"(?:character varying|varchar|character|char|bpchar) \( (\d+) \)$")
_PRECISION = re.compile(r"(?:numeric|decimal) \( (\d+)(?: , (\d+))? \)$")


class CannotLook(HeadwayError):
    """Nothing in the catalogue says how to look for such rows."""


def check(
    connection: Connection, demands: Iterable[Demand]
) -> tuple[tuple[Violation, ...], tuple[Unchecked, ...]]:
    """The demands that rows break, with a count and a few keys; and those left to the rehearsal.

    Each look is behind a savepoint and ends after half a minute at most.
    """
    violations, unchecked = [], []
    for demand in demands:
        why = demand.unknown_because
        found: Violation | None = None
        if why is None:
            try:
                found = _look(connection, demand)
            except CannotLook as reason:
                why = str(reason)
        if why is not None:
            unchecked.append(
                Unchecked(revision=demand.revision, statement=demand.statement, why=why)
            )
        elif found is not None and found.found.count:
            violations.append(found)
    return tuple(violations), tuple(unchecked)


def _look(connection: Connection, demand: Demand) -> Violation | None:
    look = connection.begin_nested()
    try:
        connection.execute(QUERIES["look_at_most"], {"milliseconds": str(LOOK_MS)})
        exact = _validated(connection, demand) if demand.kind == "validate" else demand
        if exact is None:
            return None
        return Violation(
            code=_CODES[exact.kind],
            revision=exact.revision,
            statement=exact.statement,
            table=exact.table,
            columns=exact.columns,
            found=_find(connection, exact),
        )
    except DBAPIError as error:
        diagnosis = getattr(error.orig, "diag", None)
        said = getattr(diagnosis, "message_primary", None) or type(error).__name__
        raise CannotLook(f"the database could not say: {said}") from None
    finally:
        look.rollback()


def _find(connection: Connection, demand: Demand) -> Sample:
    table, columns = demand.table, demand.columns
    if demand.kind == "unique":
        equal = demand.nulls_are_equal
        return duplicates.find(connection, table, columns, demand.predicate, nulls_are_equal=equal)
    if demand.kind == "foreign-key":
        return _rows(connection, table, _orphans(connection, demand), alias="t")
    if demand.kind == "not-null":
        return _rows(connection, table, f"{columns[0]} IS NULL")
    if demand.kind == "check":
        return _rows(connection, table, f"NOT ({demand.predicate})")
    if demand.kind == "type":
        return _rows(connection, table, _too_large(connection, demand))
    return _rows(connection, table, "true")


def _orphans(connection: Connection, demand: Demand) -> str:
    others = demand.other_columns or tuple(
        connection.scalars(QUERIES["primary_key"], {"table": demand.other_table})
    )
    if len(others) != len(demand.columns):
        raise CannotLook(f"{demand.other_table} is not there yet, or has no such key")
    known = " AND ".join(f"t.{column} IS NOT NULL" for column in demand.columns)
    pairs = zip(demand.columns, others, strict=True)
    same = " AND ".join(f"o.{other} = t.{column}" for column, other in pairs)
    there = f"SELECT FROM {demand.other_table} AS o WHERE {same}"
    return f"{known} AND NOT EXISTS ({there})"


def _too_large(connection: Connection, demand: Demand) -> str:
    column, wanted = demand.columns[0], demand.predicate or ""
    asked = {"table": demand.table, "column": column.strip('"')}
    now = str(connection.scalar(QUERIES["type_of_column"], asked) or "")
    if wanted in _RANGES and re.match(r"smallint|integer|bigint|numeric", now):
        bound = 2 ** _RANGES[wanted]
        return f"round({column}::numeric) NOT BETWEEN {-bound} AND {bound - 1}"
    if found := _LENGTH.match(wanted):
        return f"length(rtrim({column}::text)) > {int(found[1])}"
    if found := _PRECISION.match(wanted):
        digits, scale = int(found[1]), int(found[2] or 0)
        if re.match(r"smallint|integer|bigint|numeric", now):
            return f"abs(round({column}::numeric, {scale})) >= 1e{digits - scale}::numeric"
    if wanted in {"text", "numeric"} or now == "":
        return "false"
    raise CannotLook(f"whether every {now} becomes a {wanted} shows only when it is tried")


def _validated(connection: Connection, demand: Demand) -> Demand | None:
    """What the constraint demands that is to be validated; None if there is nothing to look at."""
    asked = {"table": demand.table, "name": demand.columns[0].strip('"')}
    row = connection.execute(QUERIES["constraint_of_table"], asked).first()
    if row is None:
        raise CannotLook("the plan itself adds that constraint before")
    kind: dict[str, str] = {"f": "foreign-key", "c": "check"}
    if row.contype not in kind:
        return None
    return Demand(
        "foreign-key" if row.contype == "f" else "check",
        demand.revision,
        demand.statement,
        demand.table,
        tuple(row.columns or ()),
        predicate=row.expression,
        other_table=row.other_table,
        other_columns=tuple(row.other_columns or ()),
    )


def _rows(connection: Connection, table: str, where: str, alias: str = "t") -> Sample:
    key = _key(connection, table, alias)
    count = f"SELECT count(*) FROM {table} AS {alias} WHERE {where}"  # noqa: S608
    shown = f"SELECT {key} FROM {table} AS {alias} WHERE {where} LIMIT {SAMPLE}"  # noqa: S608
    found = int(connection.scalar(_sql(count)) or 0)
    keys = [_written(row) for row in connection.execute(_sql(shown))] if found else []
    return Sample(count=found, keys=tuple(keys))


def _key(connection: Connection, table: str, alias: str) -> str:
    columns = list(connection.scalars(QUERIES["primary_key"], {"table": table}))
    return ", ".join(f"{alias}.{column}" for column in columns) or f"{alias}.ctid::text"


def _written(row: Sequence[object]) -> str:
    return "(" + ", ".join(map(str, row)) + ")"


def _sql(statement: str) -> sa.TextClause:
    return sa.text(statement.replace(":", r"\:"))
