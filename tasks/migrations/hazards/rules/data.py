"""Statements that change rows: all of them, at once, or while a table is locked."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tasks.migrations.hazards.reading import Reading
from tasks.migrations.hazards.registry import Finding, hazard
from tasks.migrations.hazards.sql import NAME, plain_name
from tasks.migrations.hazards.statements import Statement

# Bounded by a limit, a range of keys, or one key.
_BOUNDED = re.compile(
    r"\blimit (?!all)\S+|\bbetween\b|\bctid\b|"
    r"\b(?:where|and) (?:\w+\.)?(?:\w+_)?(?:id|key|code|name) "
    r"(?:= (?:[\d:$%]|'|any)|in \( (?!select))|"
    r"\b(?:\w+_)?id >=? \S+ and (?:\w+\.)?(?:\w+_)?id <"
)
_CHANGE = re.compile(rf"(?:^|[()] )(?P<verb>update|delete from) (?:only )?(?P<table>{NAME})")


def _without_where(statement: Statement, verb: str) -> Iterator[str]:
    """The tables all of whose rows the statement changes, or a part of it in WITH."""
    if not re.match(r"with |update |delete ", statement.text):
        return
    for found in _CHANGE.finditer(statement.text):
        if found["verb"] == verb and not re.search(r"\bwhere\b", _scope(found)):
            yield plain_name(found["table"])


def _scope(found: re.Match[str]) -> str:
    """What follows, up to the bracket that ends the part."""
    depth = 0
    for place in range(found.end(), len(found.string)):
        depth += {"(": 1, ")": -1}.get(found.string[place], 0)
        if depth < 0:
            return found.string[found.end() : place]
    return found.string[found.end() :]


@hazard(
    "delete-without-where",
    "high",
    instead="a predicate and the number of rows that it should meet; in batches by key",
    unsafe="DELETE FROM sessions",
    safe="DELETE FROM sessions WHERE id BETWEEN 1 AND 5000",
)
def delete_without_where(reading: Reading) -> Iterator[Finding]:
    """All rows of a table go."""
    for statement in reading.statements:
        for table in _without_where(statement, "delete from"):
            yield Finding(f"all rows of {table} go", statement, tables=(table,))


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
    for statement in reading.statements:
        for table in _without_where(statement, "update"):
            yield Finding(f"all rows of {table} change", statement, tables=(table,))


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
