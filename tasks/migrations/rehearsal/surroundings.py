"""What a statement may have changed: the tables' files and counters, and the session's locks.

The looking asks the catalogue on the same connection, past SQLAlchemy, so it sees what the
transaction did and is itself neither traced nor counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Dialect

from tasks.database import load_queries

QUERIES = load_queries(__package__)


@dataclass(frozen=True, slots=True)
class Table:
    """One table: the file with its rows, and how many were read and written."""

    name: str
    file: int | None
    scanned: int
    written: int


@dataclass(frozen=True, slots=True)
class State:
    """Tables by identity, and the locks that the session holds on relations."""

    tables: Mapping[int, Table]
    locks: frozenset[tuple[int, str]]


def look(driver: Any, dialect: Dialect, version_table: str) -> State:
    """The state now; locks also on relations that are no tables, or are dropped."""
    if driver.autocommit:
        _ask(driver, dialect, "flush_statistics")
    rows = _ask(driver, dialect, "surroundings", version_table=version_table)
    known = [row for row in rows if row[1] is not None]  # the others are of dropped tables
    counted = (
        {oid: (read, written) for oid, read, written in _ask(driver, dialect, "counted")}
        if driver.autocommit
        else {row[0]: (row[3], row[4]) for row in known}
    )
    tables = {row[0]: Table(row[1], row[2], *counted.get(row[0], (0, 0))) for row in known}
    return State(tables, frozenset((row[0], mode) for row in rows for mode in row[5]))


def rewritten(before: State, after: State) -> tuple[str, ...]:
    """Tables of both whose rows are in another file."""
    both = ((before.tables.get(oid), table) for oid, table in after.tables.items())
    return tuple(
        sorted(
            table.name
            for known, table in both
            if known is not None and known.file is not None and known.file != table.file
        )
    )


def grown(before: State, after: State, count: str) -> dict[str, int]:
    """By how much this counter of a table is more than it was."""
    found = {
        table.name: getattr(table, count) - getattr(before.tables.get(oid), count, 0)
        for oid, table in after.tables.items()
    }
    return {name: more for name, more in sorted(found.items()) if more > 0}


def _ask(driver: Any, dialect: Dialect, name: str, **parameters: Any) -> list[tuple[Any, ...]]:
    return list(driver.execute(_compiled(name, dialect), parameters).fetchall())


@lru_cache
def _compiled(name: str, dialect: Dialect) -> str:
    return str(QUERIES[name].compile(dialect=dialect))
