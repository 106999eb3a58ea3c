"""Archive all there is before a reset; and drop archives that nobody needs any more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from fnmatch import fnmatchcase

from sqlalchemy import Connection, Engine

from tasks.migrations.archive import copying, registry
from tasks.migrations.archive.catalogue import read_table
from tasks.migrations.archive.keeping import checksum_of
from tasks.migrations.archive.model import Archived, ArchivedPart, Effect, TableName
from tasks.migrations.archive.pieces import pieces_of
from tasks.migrations.archive.sql import EXACT, QUERIES, SCHEMA, quoted, run, settled

RESET = "reset"
"""Stands for the revision: each downgrade of the reset archives what it takes away besides."""


def archive_everything(
    engine: Engine,
    environment: str,
    run_id: str | None,
    *,
    schemas: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    version_table: tuple[str | None, str] = (None, "alembic_version"),
) -> Archived:
    """Copy every table with rows in it, before the first downgrade of a reset; nobody is blocked.

    One snapshot and one transaction, so the copies fit each other. They are complete at once, and
    are for a person: no upgrade takes rows out of them.
    """
    with engine.connect() as connection:
        run(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        parts = []
        for place in _tables(connection, schemas, ignore, version_table):
            parts += _copy(connection, environment, run_id, place)
        connection.commit()
    return Archived(environment=environment, revision=RESET, parts=tuple(parts))


def find_everything(engine: Engine, environment: str, run_id: str | None) -> Archived | None:
    """What ``archive_everything`` has copied for this run; None if nothing."""
    with engine.connect() as connection:
        parts = registry.complete_of_run(connection, environment, RESET, run_id)
    return Archived(environment=environment, revision=RESET, parts=parts) if parts else None


def _tables(
    connection: Connection,
    schemas: Sequence[str] | None,
    ignore: Sequence[str],
    version_table: tuple[str | None, str],
) -> list[TableName]:
    default = str(connection.scalar(QUERIES["default_schema"]))
    left_out = version_table[0] or default, version_table[1]
    rows = connection.execute(
        QUERIES["tables_of_schemas"], {"schemas": None if schemas is None else list(schemas)}
    )
    return [
        (row.schema_name, row.name)
        for row in rows
        if (row.schema_name, row.name) != left_out
        and not any(
            fnmatchcase(name, pattern)
            for name in (row.name, f"{row.schema_name}.{row.name}")
            for pattern in ignore
        )
    ]


def _copy(
    connection: Connection, environment: str, run_id: str | None, place: TableName
) -> list[ArchivedPart]:
    table = read_table(connection, place)
    if table is None:
        return []
    with settled(connection, **EXACT):
        only = "" if table.is_partitioned else "ONLY "
        if not run(connection, f"SELECT EXISTS (SELECT FROM {only}{quoted(*place)})").scalar():
            return []
    (piece,) = pieces_of(Effect(dropped_tables=(place,)), [table])
    entry = copying.copy_piece(connection, environment, RESET, run_id, piece)
    rows, checksum = checksum_of(connection, entry)
    registry.complete(connection, entry.id, rows, checksum, before_ddl=True)
    return [registry.part(entry)]


def purge(connection: Connection, older_than: timedelta) -> tuple[str, ...]:
    """Drop archives of which every row came back at least that long ago; returns their names.

    Their entries stay. What is in the archive only is never dropped.
    """
    purged = []
    for row in connection.execute(QUERIES["entries_to_purge"], {"older_than": older_than}).all():
        run(connection, f"DROP TABLE IF EXISTS {quoted(SCHEMA, row.archived_in)}")
        connection.execute(QUERIES["mark_purged"], {"id": row.id})
        purged.append(row.archived_in)
    return tuple(purged)
