"""Statements that change rows: all of them, at once, or while a table is locked."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tasks.migrations.hazards.reading import Reading
from tasks.migrations.hazards.registry import Finding, hazard
from tasks.migrations.hazards.statements import Statement, matching

# Bounded by a limit, a range of keys, or one key.
_BOUNDED = re.compile(
    r"\blimit (?!all)\S+|\bbetween\b|\bctid\b|"
    r"\b(?:where|and) (?:\w+\.)?(?:\w+_)?(?:id|key|code|name) "
    r"(?:= (?:[\d:$%]|'|any)|in \( (?!select))|"
    r"\b(?:\w+_)?id >=? \S+ and (?:\w+\.)?(?:\w+_)?id <"
)
_WHERE = re.compile(r"\bwhere\b")


@hazard(
    "delete-without-where",
    "high",
    instead="a predicate and the number of rows that it should meet; in batches by key",
    unsafe="DELETE FROM sessions",
    safe="DELETE FROM sessions WHERE id BETWEEN 1 AND 5000",
)
def delete_without_where(reading: Reading) -> Iterator[Finding]:
    """All rows of a table go."""
    for statement, _ in matching(reading.statements, r"delete from "):
        if not _WHERE.search(statement.text):
            yield Finding(f"all rows of {', '.join(statement.tables)} go", statement)


@hazard(
    "update-without-where",
    "high",
    instead="a predicate and the number of rows that it should meet; in batches by key",
    unsafe="UPDATE orders SET region = 'north'",
    safe="UPDATE orders SET region = 'north' WHERE id BETWEEN 1 AND 5000",
    decided_by="time",
)
def update_without_where(reading: Reading) -> Iterator[Finding]:
    """All rows of a table change."""
    for statement, _ in matching(reading.statements, r"update (?!.*\bwhere\b)"):
        yield Finding(f"all rows of {', '.join(statement.tables)} change", statement)


@hazard(
    "unbatched-backfill",
    "warning",
    instead="batches by key, each committed, with pauses; outside the schema revision",
    unsafe="UPDATE orders SET region = 'north' WHERE region IS NULL",
    safe="UPDATE orders SET region = 'north' WHERE id IN "
    "(SELECT id FROM orders WHERE region IS NULL LIMIT 5000)",
    decided_by="time",
)
def unbatched_backfill(reading: Reading) -> Iterator[Finding]:
    """Any number of rows is changed in one transaction."""
    for statement in reading.statements:
        if statement.is_writing and not _BOUNDED.search(statement.text):
            yield Finding(
                f"any number of rows of {', '.join(statement.tables)} change in one transaction: "
                "they stay locked until the commit, and a failure loses all the work",
                statement,
            )


@hazard(
    "ddl-with-backfill",
    "high",
    instead="three revisions: the column, the rows in batches, the constraint",
    unsafe="ALTER TABLE orders ADD COLUMN region text; UPDATE orders SET region = 'north'",
    safe="ALTER TABLE orders ADD COLUMN region text",
    decided_by="revision-time",
)
def ddl_with_backfill(reading: Reading) -> Iterator[Finding]:
    """The lock of the DDL is held while the rows change."""
    for together in reading.transactions():
        locking = [s for s in together if s.takes_strong_lock and _is_old(reading, s)]
        filling = [
            s
            for s in together
            if (s.is_writing or s.is_filling) and _is_old(reading, s) and s.tables
        ]
        if locking and filling:
            held = ", ".join(dict.fromkeys(table for s in locking for table in s.tables))
            yield Finding(
                f"the lock on {held or 'a table'} is held while rows of "
                f"{', '.join(filling[0].tables)} change, for as long as that takes",
                filling[0],
                tables=tuple(dict.fromkeys(t for s in locking for t in s.tables)),
            )


def _is_old(reading: Reading, statement: Statement) -> bool:
    return not statement.tables or any(
        table not in reading.before[statement.position].tables for table in statement.tables
    )
