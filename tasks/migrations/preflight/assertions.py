"""Looks for the rows that a pending statement would fail on. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tasks.database import load_queries
from tasks.migrations.applying import duplicates
from tasks.migrations.applying.sample import SAMPLE, Sample
from tasks.migrations.hazards.sql import plain_name
from tasks.migrations.preflight.demands import Demand, Kind
from tasks.migrations.preflight.judge import Unchecked, Violation, ViolationCode
from tasks.migrations.preflight.type_fits import NO_ROWS, CannotLook, misfits

QUERIES = load_queries(__package__, "preflight.sql")
LOOK_MS = 30_000
_LONGEST_KEY = 60
_CODES: dict[str, ViolationCode] = {
    "not-null": "null-values",
    "no-rows": "null-values",
    "unique": "duplicate-values",
    "foreign-key": "orphan-rows",
    "check": "check-violations",
    "type": "values-do-not-fit",
}
_VALIDATED: dict[str, Kind] = {"f": "foreign-key", "c": "check", "n": "not-null"}
_ABOUT_VALUES = "22"  # such errors show values of rows


def check(
    connection: Connection, demands: Iterable[Demand], *, look_ms: int = LOOK_MS
) -> tuple[tuple[Violation, ...], tuple[Unchecked, ...]]:
    """The demands that rows break, with a count and a few keys; and those left to the rehearsal.

    Each look is behind a savepoint and ends after half a minute (``look_ms``) at most.
    """
    violations, unchecked = [], []
    for demand in demands:
        try:
            found = _look(connection, demand, look_ms)
        except CannotLook as reason:
            why = str(reason)
            place = {"revision": demand.revision, "statement": demand.statement}
            unchecked.append(Unchecked(**place, why=why))
        else:
            violations += [found] if found.found.count else []
    return tuple(violations), tuple(unchecked)


def _look(connection: Connection, demand: Demand, look_ms: int) -> Violation:
    if demand.unknown_because:
        raise CannotLook(demand.unknown_because)
    look = connection.begin_nested()
    try:
        connection.execute(QUERIES["look_at_most"], {"milliseconds": str(look_ms)})
        exact = _validated(connection, demand) if demand.kind == "validate" else demand
        found = _find(connection, exact)
        if found.count:
            _require_final(connection, demand)
        return Violation(
            code=_code(connection, exact),
            revision=exact.revision,
            statement=exact.statement,
            table=exact.table,
            columns=exact.columns,
            found=_shortened(found),
        )
    except DBAPIError as error:
        raise CannotLook(f"the database could not say: {_said(error)}") from error
    finally:
        if not connection.invalidated:
            look.rollback()


def _said(error: DBAPIError) -> str:
    """What went wrong; an error of a lost connection is let through."""
    if error.connection_invalidated:
        raise error
    sqlstate = str(getattr(error.orig, "sqlstate", ""))
    if sqlstate.startswith(_ABOUT_VALUES):
        return f"an expression fails on a row ({sqlstate})"
    diagnosis = getattr(error.orig, "diag", None)
    return getattr(diagnosis, "message_primary", None) or type(error).__name__


def _require_final(connection: Connection, demand: Demand) -> None:
    """Where the plan's earlier changes of other tables may reach these rows, nobody knows yet."""
    names = list(demand.written_before)
    reaching = connection.scalars(QUERIES["reach_further"], {"names": names}).all() if names else ()
    if reaching:
        raise CannotLook(f"the plan itself changes {', '.join(reaching)} before, which reaches it")


def _code(connection: Connection, demand: Demand) -> ViolationCode:
    if demand.kind == "type" and connection.scalar(QUERIES["is_enum"], _column(demand)):
        return "enum-value-in-use"
    return _CODES[demand.kind]


def _find(connection: Connection, demand: Demand) -> Sample:
    table, columns = demand.table, demand.columns
    if demand.kind == "unique":
        equal = demand.nulls_are_equal
        return duplicates.find(connection, table, columns, demand.predicate, nulls_are_equal=equal)
    return _rows(connection, table, _condition(connection, demand))


def _condition(connection: Connection, demand: Demand) -> str:
    """What is true for the rows that break the demand."""
    if demand.kind == "foreign-key":
        return _orphans(connection, demand)
    if demand.kind == "not-null":
        is_required = connection.scalar(QUERIES["is_required"], _column(demand))
        return NO_ROWS if is_required else f"t.{demand.columns[0]} IS NULL"
    if demand.kind == "check":
        return f"NOT ({demand.predicate})"
    return misfits(connection, demand) if demand.kind == "type" else "true"


def _orphans(connection: Connection, demand: Demand) -> str:
    others = demand.other_columns or tuple(
        connection.scalars(QUERIES["primary_key"], {"table": demand.other_table})
    )
    if len(others) != len(demand.columns):
        raise CannotLook(f"{demand.other_table} is not there yet, or has no such key")
    known = [f"t.{column} IS NOT NULL" for column in demand.columns]
    pairs = zip(demand.columns, others, strict=True)
    same = " AND ".join(f"o.{other} = t.{column}" for column, other in pairs)
    there = f"SELECT FROM {demand.other_table} AS o WHERE {same}"
    lost = f"{' AND '.join(known)} AND NOT EXISTS ({there})"
    if not demand.is_full:
        return lost
    return f"({lost}) OR (({' OR '.join(known)}) AND NOT ({' AND '.join(known)}))"


def _validated(connection: Connection, demand: Demand) -> Demand:
    """What the constraint demands that is to be validated; nothing if it is valid already."""
    asked = {"table": demand.table, "name": demand.name.strip('"')}
    row = connection.execute(QUERIES["constraint_of_table"], asked).first()
    if row is None:
        raise CannotLook(f"{demand.table} has no constraint {demand.name} yet")
    if row.is_valid:
        return replace(demand, kind="check", predicate="true")
    if row.contype not in _VALIDATED:
        raise CannotLook(f"what constraint {demand.name} demands shows only when it is tried")
    return replace(
        demand,
        kind=_VALIDATED[row.contype],
        columns=tuple(row.columns or ()),
        predicate=row.expression,
        other_table=row.other_table,
        other_columns=tuple(row.other_columns or ()),
        is_full=row.is_full,
    )


def _rows(connection: Connection, table: str, where: str) -> Sample:
    count = f"SELECT count(*) FROM {table} AS t WHERE {where}"  # noqa: S608
    found = 0 if where == NO_ROWS else int(connection.scalar(_sql(count)) or 0)
    if not found:
        return Sample()
    key = _key(connection, table)
    shown = f"SELECT {key} FROM {table} AS t WHERE {where} ORDER BY {key} LIMIT {SAMPLE}"  # noqa: S608
    return Sample(count=found, first_keys=tuple(map(_written, connection.execute(_sql(shown)))))


def _key(connection: Connection, table: str) -> str:
    """The primary key of a table, else its first column."""
    asked = {"table": table}
    key = connection.scalars(QUERIES["primary_key"], asked).all()
    columns = key or connection.scalars(QUERIES["first_column"], asked).all()
    return ", ".join(f"t.{column}" for column in columns)


def _written(row: Sequence[object]) -> str:
    return "(" + ", ".join(map(str, row)) + ")"


def _shortened(found: Sample) -> Sample:
    keys = tuple(
        k if len(k) <= _LONGEST_KEY else f"{k[: _LONGEST_KEY - 1]}…" for k in found.first_keys
    )
    return Sample(count=found.count, first_keys=keys)


def _column(demand: Demand) -> dict[str, str]:
    return {"table": demand.table, "column": plain_name(demand.columns[0]).strip('"')}


def _sql(statement: str) -> sa.TextClause:
    return sa.text(statement.replace(":", r"\:"))
