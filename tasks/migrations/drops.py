"""What a downgrade drops, and how many rows are in it: seen in the target's own transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sqlalchemy as sa
from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.migrations.losses import Loss

QUERIES = load_queries(__package__)
Columns = dict[tuple[int, int], tuple[str, str]]


def columns(connection: Connection) -> Columns:
    """Table and column names of the default schema, by the identity that a rename keeps."""
    return {
        (row.table_oid, row.column_number): (row.table_name, row.column_name)
        for row in connection.execute(QUERIES["table_columns"])
    }


def count(connection: Connection, before: Columns, after: Columns) -> tuple[Loss, ...]:
    """Rows in what is in ``before`` and not in ``after``, with those tables closed to writers.

    They stay closed until the end of the transaction, so what is counted is what would be lost.
    A column counts the rows in which it is not null.
    """
    surviving_tables = {table for table, _ in after}
    gone = [
        (names[0], names[1] if key[0] in surviving_tables else None)
        for key, names in before.items()
        if key not in after
    ]
    return tuple(_count_each(connection, list(dict.fromkeys(gone))))


def _count_each(connection: Connection, gone: Sequence[tuple[str, str | None]]) -> Iterator[Loss]:
    quote = connection.dialect.identifier_preparer.quote
    for name in dict.fromkeys(table for table, _ in gone):
        connection.execute(sa.text(f"LOCK TABLE {quote(name)} IN SHARE ROW EXCLUSIVE MODE"))
    for name, column in gone:
        counted = sa.func.count(sa.column(column)) if column else sa.func.count()
        rows = connection.scalar(sa.select(counted).select_from(sa.table(name)))
        yield Loss(table=name, column=column, rows=int(rows or 0))
