"""Whose are the rows that a check found unexpected?"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa


def owners_by_column(connection: sa.Connection, query: str) -> tuple[str, ...]:
    """The owners that ``query`` selects in its first column, sorted."""
    # By place: what else is selected may have the same name.
    unexpected = f"({query.rstrip(' ;')}) AS unexpected (owner)"
    return _first_column(connection, f"SELECT DISTINCT owner::text FROM {unexpected}")  # noqa: S608


def owners_by_sql(
    connection: sa.Connection, table: str, owner_column: str, query: str
) -> tuple[str, ...] | None:
    """The owners of what a suite's own SQL selects, which is the owner or the row's ``id``.

    None where it selects neither.
    """
    quoted = connection.dialect.identifier_preparer.quote
    unexpected = f"({query.replace('{batch}', quoted(table))}) AS unexpected"
    columns = _literally(connection, f"SELECT * FROM {unexpected} LIMIT 0").keys()  # noqa: S608
    if owner_column in columns:
        found = f"SELECT DISTINCT unexpected.{quoted(owner_column)}::text FROM {unexpected}"  # noqa: S608
    elif "id" in columns:
        found = (
            f"SELECT DISTINCT t.{quoted(owner_column)}::text FROM {unexpected} "  # noqa: S608
            f"JOIN {quoted(table)} AS t ON t.id = unexpected.id"
        )
    else:
        return None
    return _first_column(connection, found)


def _first_column(connection: sa.Connection, query: str) -> tuple[str, ...]:
    return tuple(sorted(str(row[0]) for row in _literally(connection, query)))


def _literally(connection: sa.Connection, query: str) -> sa.CursorResult[Any]:
    # A percent sign or a colon in a suite's SQL is no parameter.
    return connection.execution_options(no_parameters=True).exec_driver_sql(query)
