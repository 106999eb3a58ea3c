"""What undoing drift would take with it: rows and values that somebody has put there since."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sqlalchemy as sa
from sqlalchemy import Connection

from tasks.errors import Reason
from tasks.migrations.drift import running
from tasks.migrations.drift.ddl.words import own_name, table_of
from tasks.migrations.fingerprint.model import Attributes, Difference, Fingerprint, kind_of, name_of


def find(
    connection: Connection, expected: Fingerprint, differences: Sequence[Difference]
) -> tuple[Reason, ...]:
    """A reason for each loss. The tables stay locked, so what is counted is what there is."""
    return tuple(
        reason for difference in differences for reason in _losses(connection, expected, difference)
    )


def _losses(
    connection: Connection, expected: Fingerprint, difference: Difference
) -> Iterator[Reason]:
    key, kind = difference.object, kind_of(difference.object)
    if difference.change == "added" and kind == "table":
        rows = _count(connection, name_of(key), "count(*)")
        if rows:
            yield _reason(f"{key} has {rows} rows")
    elif (
        difference.change == "added" and kind == "column" and not difference.actual.get("generated")
    ):
        table, column = table_of(difference.actual), own_name(key, difference.actual)
        values = _count(connection, table, f"count({column})")
        if values:
            yield _reason(f"{key} has {values} values")
    elif difference.attribute == "type" and kind == "column":
        found = expected.objects[key]
        changed = _count(connection, table_of(found), _changed(key, found, str(difference.actual)))
        if changed:
            yield _reason(f"{changed} values of {key} do not fit into {difference.expected}")


def _changed(key: str, found: Attributes, actual_type: str) -> str:
    """Values that are others after a round trip through the type that is to come back."""
    column = own_name(key, found)
    there_and_back = f"CAST(CAST({column} AS {found['type']}) AS {actual_type})"
    return f"count(*) FILTER (WHERE {column}::text IS DISTINCT FROM {there_and_back}::text)"


def _count(connection: Connection, table: str, counted: str) -> int:
    connection.execute(sa.text(f"LOCK TABLE {running.escaped(table)} IN ACCESS EXCLUSIVE MODE"))
    query = f"SELECT {counted} FROM {table}"  # noqa: S608 - names as Postgres quotes them
    return int(connection.scalar(running.executable(query)) or 0)


def _reason(found: str) -> Reason:
    return Reason(
        "would-lose-rows",
        f"{found}, which undoing the drift would lose; adopt it as a revision, or save them and "
        "empty it first",
    )
