"""How many keys of a table are there more than once, and which."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, TextClause, text

from tasks.migrations.applying.sample import SAMPLE, Sample


def find(
    connection: Connection,
    table: str,
    keys: Sequence[str],
    predicate: str | None = None,
    *,
    nulls_are_equal: bool = False,
) -> Sample:
    """Keys that more than one row has. Table, keys and predicate are SQL, as it is written."""
    listed = ", ".join(keys)
    known = [] if nulls_are_equal else [f"({key}) IS NOT NULL" for key in keys]
    where = " AND ".join([*known, f"({predicate})" if predicate else "true"])
    groups = f"SELECT {listed} FROM {table} WHERE {where} GROUP BY {listed} HAVING count(*) > 1"  # noqa: S608
    counted = connection.scalar(_sql(f"SELECT count(*) FROM ({groups}) AS d"))  # noqa: S608
    shown = connection.execute(_sql(f"{groups} LIMIT {SAMPLE}"))
    found = tuple("(" + ", ".join(map(str, row)) + ")" for row in shown)
    return Sample(count=int(counted or 0), first_keys=found)


def _sql(statement: str) -> TextClause:
    return text(statement.replace(":", r"\:"))
