"""Look before an upgrade which archived values are still as the downgrade left them."""

from __future__ import annotations

from sqlalchemy import Connection

from tasks.migrations.archive import copying, registry
from tasks.migrations.archive.catalogue import read_table
from tasks.migrations.archive.keeping import checksum_of
from tasks.migrations.archive.pieces import Table
from tasks.migrations.archive.quiet import visible
from tasks.migrations.archive.registry import Entry
from tasks.migrations.archive.rows import SAME, after, joined, source_of, target_of
from tasks.migrations.archive.sql import EXACT, literal, quoted, run, settled


def prepare(connection: Connection, environment: str, revision: str) -> None:
    """Note which values nobody has changed since; call it in the upgrade's transaction, before it.

    The upgrade may change them itself, and afterwards nobody could tell. The tables are locked
    until the transaction ends. Without this ``restore`` puts back what is still as it was left.
    """
    entries, _ = registry.to_restore(connection, environment, revision)
    for entry in entries:
        piece = entry.piece
        table = read_table(connection, (piece.schema_name, piece.table))
        if table is not None and piece.key and entry.document.get("is_compared"):
            copying.lock(connection, [piece])
            with visible(connection, piece), settled(connection, **EXACT):
                _note(connection, entry, table)


def _note(connection: Connection, entry: Entry, table: Table) -> None:
    piece, there = entry.piece, {column.name for column in table.columns}
    compared = [name for name in entry.document.get("through", ()) if name in there]
    same = ", ".join(
        f"CASE WHEN t.{quoted(column.name)}::text IS NOT DISTINCT FROM a.{after(column)} "
        f"THEN {literal(column.name)} END"
        for column in piece.value_columns
        if column.name in compared
    )
    run(
        connection,
        f"ALTER TABLE {entry.quoted} DROP COLUMN IF EXISTS {quoted(SAME)}, "
        f"ADD {quoted(SAME)} text[]",
    )
    run(
        connection,
        f"UPDATE {entry.quoted} AS kept SET {quoted(SAME)} = "
        f"array_remove(ARRAY[{same}]::text[], NULL) "
        f"FROM {source_of(piece, entry.quoted)} JOIN {target_of(piece)} AS t ON {joined(piece)} "
        "WHERE kept.ctid = a.headway_row",
    )
    rows, checksum = checksum_of(connection, entry)
    registry.complete(connection, entry.id, rows, checksum, before_ddl=False)
    registry.extend(connection, entry.id, is_prepared=True)
