"""Put archived values back into rows that are there, unless somebody has changed them since."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tasks.migrations.archive.inserting import (
    Inserted,
    Insertion,
    forbidden_by,
    keys_of,
    require_about_rows,
    try_each,
)
from tasks.migrations.archive.model import RestoredPart, Sample
from tasks.migrations.archive.pieces import Column, Piece
from tasks.migrations.archive.quiet import quiet
from tasks.migrations.archive.rows import (
    GONE,
    SAME,
    SHOWN_KEYS,
    any_of,
    is_missing,
    joined,
    key_order,
    shown_key,
    source_of,
    target_of,
    text_left,
    text_of_archived,
    value_of,
)
from tasks.migrations.archive.sql import QUERIES, literal, quoted, run

_NOT_UNIQUE = "23505"


@dataclass(frozen=True, slots=True)
class _Update:
    """One table's values: where they come from, and which of them may be put back."""

    insertion: Insertion
    source: str
    columns: Sequence[tuple[Column, str]]
    allowed: Mapping[str, str]

    def differing(self, *, allowed: bool) -> str:
        """The condition for a row to have a value other than the archived one."""
        return any_of(
            f"(t.{quoted(column.name)}::text IS DISTINCT FROM {text_of_archived(column)} "
            f"AND {'' if allowed else 'NOT '}({self.allowed[column.name]}))"
            for column, _ in self.columns
        )

    def statement(self, condition: str = "") -> str:
        """The update of all rows that have such a value, or of one."""
        assigned = ", ".join(
            f"{quoted(column.name)} = CASE WHEN {self.allowed[column.name]} "
            f"THEN {value_of(column, now)} ELSE t.{quoted(column.name)} END"
            for column, now in self.columns
        )
        piece = self.insertion.piece
        return (
            f"UPDATE {target_of(piece)} AS t SET {assigned} FROM {self.source} "
            f"WHERE {joined(piece)} AND {self.differing(allowed=True)}{condition}"
        )


def put_back(
    connection: Connection, insertion: Insertion, inserted: Inserted | None
) -> RestoredPart:
    """Fill in the values of one piece, and report it; its missing rows were inserted before.

    Raises:
        NotYet: nothing was filled in; after a commit it can be.
    """
    done = inserted or Inserted(0)
    part = RestoredPart(
        entry=insertion.entry.id,
        kind=insertion.kind,
        schema_name=insertion.piece.schema_name,
        table=insertion.piece.table,
        columns=insertion.piece.values,
        rows=done.rows,
        conflicts=done.conflicts,
        problems=(*done.problems, *_missing_columns(insertion)),
    )
    if insertion.kind == "table" and done.rows + done.conflicts.count == insertion.entry.rows:
        return part  # the table was empty: nothing was there to differ
    update = _update(connection, insertion)
    if update.columns:
        changed = _sample(connection, insertion, update, update.differing(allowed=False))
        filled, failed = _fill(connection, update)
        conflicts = Sample(
            count=part.conflicts.count + len(failed),
            first_keys=(*part.conflicts.first_keys, *keys_of(connection, insertion, failed))[
                :SHOWN_KEYS
            ],
        )
        part = part.model_copy(
            update={
                "rows": part.rows + filled,
                "changed": changed,
                "conflicts": conflicts,
                "problems": (*part.problems, *forbidden_by(failed)),
            }
        )
    return part.model_copy(update=_in_between(connection, insertion, update))


def _missing_columns(insertion: Insertion) -> tuple[str, ...]:
    there = {column.name for column in insertion.table.columns}
    return tuple(
        f"there is no column {column.name!r} any more: its values stay in the archive"
        for column in insertion.piece.value_columns
        if column.name not in there
    )


def _update(connection: Connection, insertion: Insertion) -> _Update:
    piece, document = insertion.piece, insertion.entry.document
    columns = [each for each in insertion.columns() if each[0].name not in piece.key]
    through = document.get("through") or {}
    if piece.kind == "column":
        allowed = {column.name: "true" for column, _ in columns}
        return _Update(insertion, source_of(piece, insertion.entry.quoted), columns, allowed)
    if piece.kind == "table":
        # A row that the upgrade itself made, in this transaction, is the row that was archived.
        own = connection.scalar(QUERIES["own_transaction"])
        allowed = {column.name: f"age(t.xmin) <= age('{own}'::xid)" for column, _ in columns}
        return _Update(insertion, source_of(piece, insertion.entry.quoted), columns, allowed)
    if not document.get("is_compared"):
        allowed = {column.name: "false" for column, _ in columns}
        return _Update(insertion, source_of(piece, insertion.entry.quoted), columns, allowed)
    compared = [each for each in columns if each[0].name in through]
    if document.get("is_prepared"):
        # A row that was gone before the upgrade, and is there now, is the upgrade's.
        allowed = {
            column.name: f"CASE WHEN a.{quoted(SAME)} IS NULL THEN a.{quoted(GONE)} "
            f"ELSE {literal(column.name)} = ANY (a.{quoted(SAME)}) END"
            for column, _ in compared
        }
        return _Update(insertion, source_of(piece, insertion.entry.quoted), compared, allowed)
    allowed = {
        column.name: f"NOT a.{quoted(GONE)} AND t.{quoted(column.name)}::text "
        f"IS NOT DISTINCT FROM {text_left(column, through)}"
        for column, _ in compared
    }
    source = source_of(piece, insertion.entry.quoted, through)
    return _Update(insertion, source, compared, allowed)


def _fill(connection: Connection, update: _Update) -> tuple[int, dict[str, str]]:
    """How many rows got their values back, and which did not."""
    piece = update.insertion.piece
    for relaxed in (False, True):
        trial = connection.begin_nested()
        try:
            with quiet(connection, piece), _without_unique(connection, update, relaxed):
                filled = run(connection, update.statement()).rowcount
                if relaxed:
                    _number_anew(connection, update)
                run(connection, "SET CONSTRAINTS ALL IMMEDIATE")
        except DBAPIError as error:
            trial.rollback()
            if not relaxed:
                require_about_rows(error)
            if getattr(error.orig, "sqlstate", None) != _NOT_UNIQUE:
                break
        else:
            trial.commit()
            return filled, {}
    return _fill_each(connection, update)


def _number_anew(connection: Connection, update: _Update) -> None:
    """Give rows that are new since later numbers: the sequence had begun again."""
    piece = update.insertion.piece
    numbered = connection.scalars(
        QUERIES["numbered_columns"],
        {
            "name": quoted(piece.schema_name, piece.table),
            "columns": [column.name for column, _ in update.columns],
        },
    ).all()
    if numbered and piece.kind == "column":
        assigned = ", ".join(f"{quoted(name)} = DEFAULT" for name in numbered)
        run(
            connection,
            f"UPDATE {target_of(piece)} AS t SET {assigned} WHERE NOT EXISTS "
            f"(SELECT FROM {update.source} WHERE {joined(piece)})",
        )


def _fill_each(connection: Connection, update: _Update) -> tuple[int, dict[str, str]]:
    connection.execute(QUERIES["make_each"])
    piece = update.insertion.piece
    listing = (
        f"SELECT a.headway_row FROM {update.source} JOIN {target_of(piece)} AS t "
        f"ON {joined(piece)} WHERE {update.differing(allowed=True)}"
    )
    wanted = int(run(connection, f"SELECT count(*) FROM ({listing}) AS listed").scalar_one())
    with quiet(connection, piece):
        statement = update.statement(" AND a.headway_row = $1")
        failed = try_each(connection, listing, statement)
    return wanted - len(failed), failed


@contextmanager
def _without_unique(connection: Connection, update: _Update, relaxed: bool) -> Iterator[None]:
    """Without constraints that values in exchange would break on the way, though not at the end."""
    piece = update.insertion.piece
    name = quoted(piece.schema_name, piece.table)
    names = [column.name for column, _ in update.columns]
    found = connection.execute(QUERIES["unique_over"], {"name": name, "columns": names}).all()
    for row in found if relaxed else ():
        if row.is_constraint:
            run(connection, f"ALTER TABLE {name} DROP CONSTRAINT {quoted(row.name)}")
        else:
            run(connection, f"DROP INDEX {quoted(piece.schema_name, row.name)}")
    yield
    for row in found if relaxed else ():
        if row.is_constraint:
            added = f"ADD CONSTRAINT {quoted(row.name)} {row.definition}"
            run(connection, f"ALTER TABLE {name} {added}")
        else:
            run(connection, row.definition)


def _in_between(
    connection: Connection, insertion: Insertion, update: _Update
) -> Mapping[str, Sample]:
    piece, document = insertion.piece, insertion.entry.document
    is_difference = piece.keeps_difference
    if is_difference and not document.get("is_compared"):
        return {}
    found = {}
    if piece.kind != "table":
        there = f" AND NOT a.{quoted(GONE)}" if is_difference else ""
        deleted = f"FROM {update.source} WHERE {is_missing(piece)}{there}"
        found["deleted"] = _count(connection, piece, "a", deleted)
    if not is_difference:
        known = f"SELECT FROM {update.source} WHERE {joined(piece)}"
        added = f"FROM {target_of(piece)} AS t WHERE NOT EXISTS ({known})"
        found["added"] = _count(connection, piece, "t", added)
    return found


def _sample(
    connection: Connection, insertion: Insertion, update: _Update, condition: str
) -> Sample:
    piece, document = insertion.piece, insertion.entry.document
    is_certain = not piece.keeps_difference or document.get("is_prepared")
    gone = "" if is_certain or not document.get("is_compared") else f" AND NOT a.{quoted(GONE)}"
    matched = (
        f"FROM {update.source} JOIN {target_of(piece)} AS t ON {joined(piece)} "
        f"WHERE {condition}{gone}"
    )
    return _count(connection, piece, "a", matched)


def _count(connection: Connection, piece: Piece, alias: str, rows: str) -> Sample:
    count = int(run(connection, f"SELECT count(*) {rows}").scalar_one())
    if not count:
        return Sample()
    shown, order = shown_key(piece, alias), key_order(piece, alias)
    keys = run(connection, f"SELECT {shown} {rows} ORDER BY {order} LIMIT {SHOWN_KEYS}").scalars()
    return Sample(count=count, first_keys=tuple(keys))
