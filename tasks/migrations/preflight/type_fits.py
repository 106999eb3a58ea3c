"""Which rows have a value that does not become one of another type. Reads the catalogue."""

from __future__ import annotations

import re

import sqlalchemy as sa
from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import HeadwayError
from tasks.migrations.hazards.rules.types import widens
from tasks.migrations.hazards.sql import plain_name
from tasks.migrations.preflight.demands import Demand

QUERIES = load_queries(__package__, "preflight.sql")
NO_ROWS = "false"
_BITS = {"smallint": 15, "integer": 31, "bigint": 63}
_WHOLE = {"smallint", "integer", "bigint"}
_FLOATING = {"real", "double precision"}
_NUMBERS = {*_WHOLE, *_FLOATING, "numeric"}
_ALL_TEXT = {"text", "citext", "character varying"}
_INPUT_IS_VALID_SINCE = (16,)
_SIZED = re.compile(
    r"(?P<name>character varying|character|numeric) \( (?P<size>\d+)(?: , (?P<scale>\d+))? \)"
)


class CannotLook(HeadwayError):
    """Nothing in the catalogue says how to look for such rows."""


def misfits(connection: Connection, demand: Demand) -> str:
    """A condition that is true for the rows whose value does not become one of the new type.

    Raises:
        CannotLook: only trying shows it.
    """
    column, wanted = demand.columns[0], demand.predicate or ""
    asked = {"table": demand.table, "column": plain_name(column).strip('"')}
    now = connection.scalar(QUERIES["type_of_column"], asked)
    if now is None:
        raise CannotLook(f"{demand.table} has no column {column} yet")
    if demand.expression is None and widens(
        str(now), wanted.replace(" ( ", "(").replace(" )", ")")
    ):
        return NO_ROWS
    value = demand.expression or column
    source = _source(connection, demand.table, value)
    if source is None:
        return NO_ROWS
    labels = _labels(connection, demand, wanted)
    if labels is not None:
        return f"NOT (({value})::text = ANY (ARRAY[{', '.join(labels)}]::text[]))"
    is_cast = demand.expression is not None
    found = _condition(connection, f"({value})", source, wanted, is_cast=is_cast)
    if found is None:
        raise CannotLook(f"whether every {now} becomes {wanted} shows only when it is tried")
    return found


def _condition(
    connection: Connection, value: str, source: str, wanted: str, *, is_cast: bool
) -> str | None:
    sized = _SIZED.fullmatch(wanted)
    if wanted in _BITS and source in _NUMBERS:
        return _out_of_range(value, source, _BITS[wanted])
    if sized and sized["name"] == "numeric" and source in _NUMBERS:
        return _too_many_digits(value, int(sized["size"]), int(sized["scale"] or 0))
    if (sized and sized["name"] != "numeric") or wanted == "character":
        # A cast that is written down cuts longer values off; one that is not fails.
        size = int(sized["size"]) if sized else 1
        return None if is_cast else f"length(rtrim({value}::text)) > {size}"
    if wanted in _ALL_TEXT or (wanted in _NUMBERS - _WHOLE and source in _WHOLE):
        return NO_ROWS
    if source == "text":
        return _not_as_text(connection, value, wanted)
    return None


def _out_of_range(value: str, source: str, bits: int) -> str:
    rounded = {"numeric": f"round({value})"}.get(source, value)
    if source in _FLOATING:
        rounded = f"round({value}::double precision)"
    return f"{rounded} NOT BETWEEN {-(2**bits)} AND {2**bits - 1}"


def _too_many_digits(value: str, digits: int, scale: int) -> str:
    number = f"{value}::numeric"
    return f"({number} <> 'NaN' AND abs(round({number}, {scale})) >= 1e{digits - scale}::numeric)"


def _not_as_text(connection: Connection, value: str, wanted: str) -> str:
    if (connection.dialect.server_version_info or ()) < _INPUT_IS_VALID_SINCE:
        raise CannotLook(f"before Postgres 16 only trying shows whether a text becomes {wanted}")
    name = wanted.replace("'", "''")
    return f"NOT pg_input_is_valid({value}::text, '{name}')"


def _source(connection: Connection, table: str, value: str) -> str | None:
    """The type of an expression, every kind of text as `text`; None if there are no rows."""
    query = f"SELECT CAST(pg_typeof({value}) AS text) AS name FROM {table} LIMIT 1"  # noqa: S608
    name = connection.scalar(sa.text(query.replace(":", r"\:")))
    if name is None:
        return None
    found = connection.execute(QUERIES["kind_of_type"], {"name": name}).one()
    return "text" if found.category == "S" else str(found.name)


def _labels(connection: Connection, demand: Demand, wanted: str) -> tuple[str, ...] | None:
    """The values of the enum that the column becomes, as SQL; None if it becomes another type."""
    if demand.labels is not None:
        return (*demand.labels, *demand.added_labels)
    found = list(connection.scalars(QUERIES["labels_of_type"], {"name": plain_name(wanted)}))
    return (*found, *demand.added_labels) if found else None
