"""Copy what will go while everybody works on; and bring the copy up to date once nobody can."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Engine

from tasks.migrations.archive import registry
from tasks.migrations.archive.catalogue import find_tables
from tasks.migrations.archive.model import ArchivedPart, Effect
from tasks.migrations.archive.pieces import Piece, pieces_of
from tasks.migrations.archive.registry import Entry
from tasks.migrations.archive.rows import (
    archived_columns,
    archived_values,
    joined,
    target_of,
)
from tasks.migrations.archive.sql import EXACT, QUERIES, run, settled

_FEW = 2**30  # transactions; twice as many, and their 32-bit numbers could not be compared


def copy_bulk(
    engine: Engine, environment: str, revision: str, effect: Effect, run_id: str | None
) -> tuple[ArchivedPart, ...]:
    """Copy rows and columns that the downgrade will take away, each table in its own transaction.

    Nobody is blocked. ``archive`` brings the copies up to date inside the downgrade's transaction.
    What dead runs left is dropped; what this run has copied already stays. Tables without a key
    are left to ``archive``.
    """
    with engine.connect() as connection:
        drop_left_behind(connection, environment, run_id)
        pieces = pieces_of(effect, find_tables(connection, effect))
        known = registry.entries_of_run(connection, environment, revision, run_id)
        connection.commit()
        made = []
        for piece in pieces:
            if piece.can_be_copied_before and not any(each.piece == piece for each in known):
                _read_one_snapshot(connection)
                entry = copy_piece(connection, environment, revision, run_id, piece)
                connection.commit()
                made.append(registry.part(entry))
    return tuple(made)


def _read_one_snapshot(connection: Connection) -> None:
    run(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def drop_left_behind(connection: Connection, environment: str, run_id: str | None) -> None:
    """Drop the copies that other runs began and did not complete."""
    for row in connection.execute(
        QUERIES["left_behind"], {"environment": environment, "run_id": run_id}
    ).all():
        registry.forget(connection, row.id, row.archived_in)


def copy_piece(
    connection: Connection, environment: str, revision: str, run_id: str | None, piece: Piece
) -> Entry:
    """Copy a piece as this transaction sees it, with its entry."""
    entry = registry.add(connection, environment, revision, run_id, piece)
    with settled(connection, **EXACT):
        snapshot = str(connection.scalar(QUERIES["snapshot"]))
        where = f" WHERE {piece.condition}" if piece.condition else ""
        made = run(
            connection,
            f"CREATE TABLE {entry.quoted} AS SELECT {archived_values(piece)} "
            f"FROM {target_of(piece)} AS t{where}",
        )
    return registry.place(connection, entry, made.rowcount, snapshot)


def bring_up_to_date(connection: Connection, entry: Entry) -> Entry | None:
    """Copy again what changed since the copy was made; None if the copy cannot be used.

    The table is locked. A row counts as changed unless its transaction had ended before every
    transaction that was running when the copy was made: that is told by the row's own xmin.
    """
    piece, oldest = entry.piece, entry.snapshot
    began = connection.scalar(QUERIES["transactions_since"], {"number": oldest})
    if began is None or not 0 <= int(began) < _FEW:
        return None
    changed = f"age(t.xmin) <= age('{int(oldest) % 2**32}'::xid)"
    target = target_of(piece)
    with settled(connection, **EXACT):
        rows, new = run(
            connection, f"SELECT count(*), count(*) FILTER (WHERE {changed}) FROM {target} AS t"
        ).one()
        kept = entry.rows + (_copy_again(connection, entry, changed) if new else 0)
        if kept != rows:
            _delete_what_is_gone(connection, entry)
    return registry.place(connection, entry, rows, oldest)


def _copy_again(connection: Connection, entry: Entry, changed: str) -> int:
    piece = entry.piece
    deleted = run(
        connection,
        f"DELETE FROM {entry.quoted} AS a USING {target_of(piece)} AS t "
        f"WHERE {joined(piece)} AND {changed}",
    ).rowcount
    inserted = run(
        connection,
        f"INSERT INTO {entry.quoted} ({archived_columns(piece)}) "
        f"SELECT {archived_values(piece)} FROM {target_of(piece)} AS t WHERE {changed}",
    ).rowcount
    return inserted - deleted


def _delete_what_is_gone(connection: Connection, entry: Entry) -> None:
    run(
        connection,
        f"DELETE FROM {entry.quoted} AS a WHERE NOT EXISTS "
        f"(SELECT FROM {target_of(entry.piece)} AS t WHERE {joined(entry.piece)})",
    )


def lock(connection: Connection, pieces: Sequence[Piece]) -> None:
    """Close the tables, in a fixed order: to everybody, or to writers if only rows change."""
    closed = {(each.schema_name, each.table) for each in pieces if each.kind != "rows"}
    for piece in sorted(pieces, key=lambda each: (each.schema_name, each.table)):
        place = piece.schema_name, piece.table
        mode = "ACCESS EXCLUSIVE" if place in closed else "SHARE ROW EXCLUSIVE"
        run(connection, f"LOCK TABLE {target_of(piece)} IN {mode} MODE")
