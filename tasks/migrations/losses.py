"""What rows a downgrade would lose. The rule is pure; looking needs the target's transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.decisions import Verdict, rule
from tasks.errors import Reason

QUERIES = load_queries(__package__)
Columns = dict[tuple[int, int], tuple[str, str]]


class Loss(BaseModel):
    """A table that goes, or a column that goes, and how many rows have something in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: str
    column: str | None = None
    rows: int

    @property
    def place(self) -> str:
        """`table`, or `table.column`."""
        return self.table if self.column is None else f"{self.table}.{self.column}"


class LossEvidence(BaseModel):
    """What the downgrade of one revision would drop, and whether that was agreed to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    environment: str
    revision: str
    losses: tuple[Loss, ...]
    allow_data_loss: bool


@rule("rollback-losses", version=1)
def judge_losses(evidence: LossEvidence) -> Verdict:
    """Allowed if nothing with rows in it goes, or if losing them was agreed to."""
    lost = [loss for loss in evidence.losses if loss.rows > 0]
    if not lost or evidence.allow_data_loss:
        return Verdict(verdict="allowed", details={"rows_lost": sum(loss.rows for loss in lost)})
    listed = ", ".join(f"{loss.place} ({loss.rows} rows)" for loss in lost)
    reason = Reason(
        "would-lose-rows",
        f"rolling back {evidence.revision} on {evidence.environment!r} would lose {listed}; "
        "save them first, or allow the loss (allow_data_loss)",
    )
    return Verdict(verdict="refused", reasons=(reason,))


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
