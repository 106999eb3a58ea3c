"""Insert archived rows again: all at once, or row by row where something forbids some of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tasks.errors import HeadwayError
from tasks.migrations.archive.model import Kind, Sample
from tasks.migrations.archive.pieces import Column, Piece, Table
from tasks.migrations.archive.quiet import quiet
from tasks.migrations.archive.registry import Entry
from tasks.migrations.archive.rows import (
    GONE,
    SHOWN_KEYS,
    is_missing,
    key_order,
    shown_key,
    source_of,
    value_of,
)
from tasks.migrations.archive.sql import QUERIES, literal, quoted, run

_NOT_YET = "55P04"
_LOOKED_AT = 1000  # of rows that failed, to show the first few keys


class NotYet(HeadwayError):
    """A value of an enum was added by this transaction, and can be used after it only."""


@dataclass(frozen=True, slots=True)
class Insertion:
    """An archive, and the table as it is now."""

    entry: Entry
    table: Table

    @property
    def kind(self) -> Kind:
        """Why it was archived."""
        return self.entry.piece.kind

    @property
    def piece(self) -> Piece:
        """What was archived."""
        return self.entry.piece

    def columns(self) -> list[tuple[Column, str]]:
        """The archived columns that can take a value, each with the type that it has now."""
        now = {each.name: each.type for each in self.table.columns if not each.is_generated}
        return [(each, now[each.name]) for each in self.piece.value_columns if each.name in now]


@dataclass(frozen=True, slots=True)
class Inserted:
    """How many rows were inserted, and which were not."""

    rows: int
    conflicts: Sample = field(default_factory=Sample)
    problems: tuple[str, ...] = ()


def insert_rows(connection: Connection, insertions: Sequence[Insertion]) -> Mapping[int, Inserted]:
    """Insert the rows that are not there, whatever refers to what; by the number of the entry.

    One statement for all of them: foreign keys are checked at its end, so their order and circles
    do not matter. If a constraint forbids that, row by row: what is forbidden is left and told.

    Raises:
        NotYet: nothing was inserted; after a commit it can be.
    """
    wanted = {each.entry.id: _listing(connection, each) for each in insertions}
    counts = {
        number: int(run(connection, f"SELECT count(*) FROM ({each.sql}) AS listed").scalar_one())
        for number, each in wanted.items()
    }
    filled = [each for each in insertions if counts[each.entry.id]]
    if filled and not _insert_at_once(connection, filled, wanted):
        return {
            **{number: Inserted(0) for number in counts},
            **_insert_each(connection, filled, wanted, counts),
        }
    return {number: Inserted(rows) for number, rows in counts.items()}


@dataclass(frozen=True, slots=True)
class _Listing:
    """Rows of an archive, by their place in it."""

    sql: str
    is_all: bool = False


def _listing(connection: Connection, insertion: Insertion) -> _Listing:
    """The archive's rows that are to be inserted."""
    piece, entry = insertion.piece, insertion.entry
    conditions = []
    if piece.kind == "rows":
        if not entry.document.get("is_compared") or entry.document.get("made"):
            return _Listing(f"SELECT ctid AS headway_row FROM {entry.quoted} WHERE false")
        conditions.append(f"a.{quoted(GONE)}")
    name = quoted(piece.schema_name, piece.table)
    if run(connection, f"SELECT EXISTS (SELECT FROM {name})").scalar_one():
        conditions.append(is_missing(piece))
        source = source_of(piece, entry.quoted)
    else:
        source = _plain(entry)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return _Listing(f"SELECT a.headway_row FROM {source}{where}", is_all=not where)


def _plain(entry: Entry) -> str:
    return f"(SELECT ctid AS headway_row, * FROM {entry.quoted}) AS a"


def _insertion(insertion: Insertion, condition: str) -> str:
    columns = insertion.columns()
    name = quoted(insertion.piece.schema_name, insertion.piece.table)
    listed = ", ".join(quoted(column.name) for column, _ in columns)
    taken = ", ".join(value_of(column, now) for column, now in columns)
    return (
        f"INSERT INTO {name} ({listed}) OVERRIDING SYSTEM VALUE "
        f"SELECT {taken} FROM {_plain(insertion.entry)}{condition}"
    )


def _insert_at_once(
    connection: Connection, insertions: Sequence[Insertion], wanted: Mapping[int, _Listing]
) -> bool:
    statements = [
        _insertion(each, _only(wanted[each.entry.id])) for each in insertions if each.columns()
    ]
    if not statements:
        return True
    *others, last = statements
    named = ", ".join(f"i{number} AS ({sql})" for number, sql in enumerate(others))
    trial = connection.begin_nested()
    try:
        with ExitStack() as stack:
            for each in insertions:
                stack.enter_context(quiet(connection, each.piece))
            run(connection, f"WITH {named} {last}" if named else last)
    except DBAPIError as error:
        trial.rollback()
        require_about_rows(error)
        return False
    trial.commit()
    return True


def _only(listing: _Listing) -> str:
    return "" if listing.is_all else f" WHERE a.headway_row IN ({listing.sql})"


def require_about_rows(error: DBAPIError) -> None:
    """Raise the error unless a value or a constraint was the trouble; NotYet if time will help."""
    sqlstate = str(getattr(error.orig, "sqlstate", ""))
    if sqlstate == _NOT_YET:
        raise NotYet("a new value of an enum cannot be used before the commit") from error
    if sqlstate[:2] not in {"22", "23"}:
        raise error


def _insert_each(
    connection: Connection,
    insertions: Sequence[Insertion],
    wanted: Mapping[int, _Listing],
    counts: Mapping[int, int],
) -> dict[int, Inserted]:
    # A row may refer to one that comes later: again and again, until nothing more goes in.
    connection.execute(QUERIES["make_each"])
    failed: dict[int, dict[str, str]] = {}
    with ExitStack() as stack:
        for each in insertions:
            stack.enter_context(quiet(connection, each.piece))
        left = sum(counts.values()) + 1
        listings = {number: each.sql for number, each in wanted.items()}
        while True:
            for each in insertions:
                failed[each.entry.id] = try_each(
                    connection,
                    listings[each.entry.id],
                    _insertion(each, " WHERE a.headway_row = $1"),
                )
            now_left = sum(map(len, failed.values()))
            if now_left in {0, left}:
                break
            left = now_left
            listings = {number: places(rows) for number, rows in failed.items()}
    return {
        each.entry.id: _told(connection, each, failed[each.entry.id], counts[each.entry.id])
        for each in insertions
    }


def try_each(connection: Connection, listing: str, statement: str) -> dict[str, str]:
    """Run a statement for each listed row of an archive; which failed, and by what."""
    rows = connection.execute(QUERIES["try_each"], {"listing": listing, "statement": statement})
    return {row.place: row.problem for row in rows}


def places(rows: Iterable[str]) -> str:
    """A listing of these rows of an archive."""
    listed = ", ".join(map(literal, rows))
    return f"SELECT unnest(ARRAY[{listed}]::tid[]) AS headway_row"


def _told(
    connection: Connection, insertion: Insertion, failed: Mapping[str, str], wanted: int
) -> Inserted:
    return Inserted(
        rows=wanted - len(failed),
        conflicts=Sample(count=len(failed), first_keys=keys_of(connection, insertion, failed)),
        problems=forbidden_by(failed),
    )


def keys_of(connection: Connection, insertion: Insertion, rows: Iterable[str]) -> tuple[str, ...]:
    """Keys of the first few of some rows of an archive."""
    looked_at = list(rows)[:_LOOKED_AT]
    if not looked_at:
        return ()
    piece = insertion.piece
    query = (
        f"SELECT {shown_key(piece, 'a')} FROM {_plain(insertion.entry)} "
        f"WHERE a.headway_row IN ({places(looked_at)}) "
        f"ORDER BY {key_order(piece, 'a')} LIMIT {SHOWN_KEYS}"
    )
    return tuple(run(connection, query).scalars())


def forbidden_by(failed: Mapping[str, str]) -> tuple[str, ...]:
    """What forbade rows, each once: constraints by name, else the SQLSTATE."""
    return tuple(f"forbidden by {problem}" for problem in sorted(set(failed.values())))
