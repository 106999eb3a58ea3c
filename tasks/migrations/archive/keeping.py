"""Archive in the transaction of a downgrade: before its DDL, and after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tasks.migrations.archive import copying, enums, registry, sequences, surroundings
from tasks.migrations.archive.catalogue import find_tables, read_table
from tasks.migrations.archive.model import Archived, ArchivedPart, Effect
from tasks.migrations.archive.pieces import Column, Piece, Table, pieces_of
from tasks.migrations.archive.quiet import visible
from tasks.migrations.archive.registry import Entry
from tasks.migrations.archive.rows import (
    GONE,
    after,
    all_of,
    joined,
    source_of,
    target_of,
    text_now,
    text_of_archived,
)
from tasks.migrations.archive.sql import EXACT, quoted, run, settled

Through = Mapping[str, str | None]


def archive(
    connection: Connection, environment: str, revision: str, effect: Effect, run_id: str | None
) -> Archived:
    """Keep what the downgrade will take away; call it in the transaction of its DDL, before it.

    The tables are locked until that transaction ends. A copy by ``copy_bulk`` is brought up to
    date; what has none is copied now. If the transaction is rolled back, so is this.

    Raises:
        DBAPIError: a table cannot be read in full (a policy would hide rows), or not be locked.
    """
    copying.drop_left_behind(connection, environment, run_id)
    copying.lock(connection, _pieces(connection, effect))
    pieces = _pieces(connection, effect)  # anew: until the lock a column could come or go
    copied = {
        entry.piece: entry
        for entry in registry.entries_of_run(connection, environment, revision, run_id)
    }
    parts = []
    for piece in pieces:
        with visible(connection, piece):
            known = copied.pop(piece, None)
            entry = known and copying.bring_up_to_date(connection, known)
            if known and not entry:
                registry.forget(connection, known.id, known.archived_in)
            made = entry or copying.copy_piece(connection, environment, revision, run_id, piece)
        registry.extend(connection, made.id, **surroundings.of(connection, piece))
        parts.append(registry.part(made))
    for entry in copied.values():
        registry.forget(connection, entry.id, entry.archived_in)
    kept = sequences.archive(connection, environment, revision, run_id, effect)
    return Archived(environment=environment, revision=revision, parts=(*parts, *kept))


def _pieces(connection: Connection, effect: Effect) -> tuple[Piece, ...]:
    of_enums = enums.pieces(connection, effect.removed_enum_values, effect.dropped_tables)
    return (*pieces_of(effect, find_tables(connection, effect)), *of_enums)


def finish(connection: Connection, archived: Archived, *, before_ddl: bool = False) -> Archived:
    """Complete what was archived, after the DDL in the same transaction; from now it can come back.

    Of tables in which the downgrade changes values or deletes rows only those rows are kept that
    it really changed. ``before_ddl`` is for a downgrade that commits while it runs: all is kept,
    and committed beforehand; call it once more afterwards to keep the difference only.
    """
    finished = []
    entries = {each.id: each for each in registry.entries(connection, _ids(archived))}
    for part in archived.parts:
        entry = entries.get(part.entry)
        if entry is None:
            if before_ddl or sequences.is_to_be_kept(connection, part.entry):
                registry.complete(connection, part.entry, part.rows, "", before_ddl=before_ddl)
                finished.append(part)
            continue
        is_compared = entry.document.get("is_compared")
        if entry.piece.keeps_difference and not before_ddl and not is_compared:
            entry = _keep_difference(connection, entry)
        finished += _completed(connection, entry, before_ddl=before_ddl)
    return archived.model_copy(update={"parts": tuple(finished)})


def _ids(archived: Archived) -> Iterable[int]:
    return (part.entry for part in archived.parts)


def _completed(
    connection: Connection, entry: Entry, *, before_ddl: bool
) -> tuple[ArchivedPart, ...]:
    rows, checksum = checksum_of(connection, entry)
    if rows == 0 and entry.piece.keeps_difference and not before_ddl:
        registry.forget(connection, entry.id, entry.archived_in)
        return ()
    registry.complete(connection, entry.id, rows, checksum, before_ddl=before_ddl)
    return (registry.part(entry).model_copy(update={"rows": rows}),)


def checksum_of(connection: Connection, entry: Entry) -> tuple[int, str]:
    """Number of an archive's rows, and a checksum of all values, whatever the order of the rows."""
    with settled(connection, **EXACT, TimeZone="UTC"):
        rows, checksum = run(
            connection,
            "SELECT count(*), coalesce(sum(hashtextextended(a::text, 0)), 0)::text "
            f"FROM {entry.quoted} AS a",
        ).one()
    return int(rows), str(checksum)


def _keep_difference(connection: Connection, entry: Entry) -> Entry:
    piece = entry.piece
    table = read_table(connection, (piece.schema_name, piece.table))
    if table is None:  # its rows went with the table, which is archived as a whole
        return entry
    through = _ways_back(connection, piece, table)
    with visible(connection, piece), settled(connection, **EXACT):
        _drop_equal_rows(connection, entry, _surviving(piece, table), through)
        _note_what_is_left(connection, entry, _surviving(piece, table))
        made = _rows_made(connection, entry) if piece.kind == "rows" and not piece.key else 0
    registry.extend(connection, entry.id, through=through, made=made, is_compared=True)
    return entry


def _surviving(piece: Piece, table: Table) -> tuple[Column, ...]:
    there = {column.name for column in table.columns}
    return tuple(column for column in piece.value_columns if column.name in there)


def _ways_back(connection: Connection, piece: Piece, table: Table) -> dict[str, str | None]:
    """The type that each column has now, where its values can be compared as the former type."""
    types = {column.name: column.type for column in table.columns}
    return {
        column.name: types[column.name]
        if types[column.name] != column.type
        and column.is_native
        and _can_be_cast(connection, types[column.name], column.type)
        else None
        for column in _surviving(piece, table)
    }


def _can_be_cast(connection: Connection, source: str, target: str) -> bool:
    trial = connection.begin_nested()
    try:
        run(connection, f"SELECT NULL::text::{source}::{target}")
    except DBAPIError:
        trial.rollback()
        return False
    trial.commit()
    return True


def _drop_equal_rows(
    connection: Connection, entry: Entry, columns: tuple[Column, ...], through: Through
) -> None:
    piece = entry.piece
    equal = all_of(
        f"{text_now(column, through)} IS NOT DISTINCT FROM {text_of_archived(column)}"
        for column in columns
    )
    run(
        connection,
        f"DELETE FROM {entry.quoted} AS gone USING (SELECT a.headway_row "
        f"FROM {source_of(piece, entry.quoted)} JOIN {target_of(piece)} AS t ON {joined(piece)} "
        f"WHERE {equal}) AS same WHERE gone.ctid = same.headway_row",
    )


def _note_what_is_left(connection: Connection, entry: Entry, columns: tuple[Column, ...]) -> None:
    piece = entry.piece
    added = [f"ADD {quoted(GONE)} boolean NOT NULL DEFAULT true"]
    added += [f"ADD {after(column)} text" for column in columns]
    run(connection, f"ALTER TABLE {entry.quoted} {', '.join(added)}")
    left = [f"{quoted(GONE)} = false"]
    left += [f"{after(column)} = t.{quoted(column.name)}::text" for column in columns]
    run(
        connection,
        f"UPDATE {entry.quoted} AS kept SET {', '.join(left)} "
        f"FROM {source_of(piece, entry.quoted)} JOIN {target_of(piece)} AS t ON {joined(piece)} "
        "WHERE kept.ctid = a.headway_row",
    )


def _rows_made(connection: Connection, entry: Entry) -> int:
    """Rows of a table without a key that the downgrade made, or changed into something else."""
    kept, now = run(
        connection,
        f"SELECT (SELECT count(*) FROM {entry.quoted}), "
        f"(SELECT count(*) FROM {target_of(entry.piece)} AS t)",
    ).one()
    return int(now) - (entry.rows - int(kept))
