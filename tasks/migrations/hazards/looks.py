"""Looks at the rows of the target, where only they tell: each look ends after five seconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row
from sqlalchemy.exc import DBAPIError

from tasks.database import load_queries
from tasks.migrations.hazards.reading import EnumUse
from tasks.migrations.hazards.rules.drops import dropped_columns
from tasks.migrations.hazards.rules.enums import remade_enums
from tasks.migrations.hazards.sql import plain_name
from tasks.migrations.hazards.statements import Statement

QUERIES = load_queries(__package__)
_LOOK_MS = 5_000


def columns_with_values(
    connection: Connection, statements: Sequence[Statement]
) -> Iterator[tuple[tuple[str, str], bool]]:
    """Whether any row has a value, for each column that the statements drop; unknown left out."""
    for statement, column in dropped_columns(statements):
        asked = {"table": statement.table, "column": column.strip('"')}
        found = connection.execute(QUERIES["place_of_column"], asked).first()
        if found is None or statement.table is None:
            continue
        query = (
            f"SELECT EXISTS (SELECT FROM {_in_text(found.place)} "  # noqa: S608
            f"WHERE {_in_text(found.column_name)} IS NOT NULL)"
        )
        rows = _look(connection, query)
        if rows is not None:
            yield (statement.table, column), bool(rows[0][0])


def uses_of_removed_labels(
    connection: Connection, statements: Sequence[Statement], enums: Mapping[str, Sequence[str]]
) -> tuple[EnumUse, ...] | None:
    """The rows with values of enums that the statements take away; None if a look took too long."""
    found: list[EnumUse] = []
    for enum, kept, _ in remade_enums(tuple(statements)):
        gone = [label for label in enums.get(enum, ()) if label not in kept]
        for place in connection.execute(QUERIES["columns_of_enum"], {"enum": enum}).all():
            label = f"CAST({_in_text(place.column_name)} AS text)"
            query = (
                f"SELECT {label}, count(*) FROM {_in_text(place.place)} "  # noqa: S608
                f"WHERE {label} = ANY(:gone) GROUP BY 1"
            )
            rows = _look(connection, query, gone=gone)
            if rows is None:
                return None
            table = plain_name(place.place)
            found += [EnumUse(enum=enum, label=row[0], table=table, rows=row[1]) for row in rows]
    return tuple(found)


def _in_text(name: str) -> str:
    """A quoted name for SQLAlchemy, to which a colon means a parameter."""
    return name.replace(":", r"\:")


def _look(connection: Connection, query: str, **asked: Any) -> Sequence[Row[Any]] | None:
    """The rows of a query whose names the catalogue has quoted; None if that took too long."""
    look = connection.begin_nested()
    try:
        connection.execute(QUERIES["look_at_most"], {"ms": str(_LOOK_MS)})
        return connection.execute(sa.text(query), asked).all()
    except DBAPIError:
        return None
    finally:
        look.rollback()  # and with it the timeout
