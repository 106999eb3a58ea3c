"""The entries of `headway.archive`: one per piece, with all that restoring it will need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection

from tasks import jsonb
from tasks.migrations.archive.model import ArchivedPart, Kind, RestoredPart
from tasks.migrations.archive.pieces import Piece
from tasks.migrations.archive.sql import QUERIES, SCHEMA, quoted, run

_MOST_BYTES = 63


@dataclass(frozen=True, slots=True)
class Entry:
    """One piece, and where its rows lie; ``document`` is what was noted beside it."""

    id: int
    piece: Piece
    archived_in: str
    rows: int = 0
    snapshot: str = ""
    checksum: str | None = None
    document: Mapping[str, Any] = field(default_factory=dict)

    @property
    def quoted(self) -> str:
        """The archive's table, for a statement."""
        return quoted(SCHEMA, self.archived_in)


def add(
    connection: Connection, environment: str, revision: str, run_id: str | None, piece: Piece
) -> Entry:
    """Announce an archive; its table has a name that says what it holds, and its number."""
    parameters = {
        "environment": environment,
        "revision": revision,
        "kind": piece.kind,
        "schema_name": piece.schema_name,
        "table_name": piece.table,
        "column_names": list(piece.values),
        "key_columns": list(piece.key),
        "document": jsonb.dump({"piece": piece}),
        "run_id": run_id,
    }
    number = int(connection.scalar(QUERIES["add_entry"], parameters) or 0)
    return Entry(number, piece, table_name(revision, piece, number))


def table_name(revision: str, piece: Piece, number: int) -> str:
    """What an archive is called: readable, unique by its number, and short enough for Postgres."""
    end = f"_{piece.kind}_{number}"
    start = f"{revision}_{piece.schema_name}_{piece.table}".encode()
    return start[: _MOST_BYTES - len(end)].decode(errors="ignore") + end


def place(connection: Connection, entry: Entry, rows: int, snapshot: str) -> Entry:
    """Note how many rows there are, and what had been committed when they were copied."""
    parameters = {
        "id": entry.id,
        "archived_in": entry.archived_in,
        "rows": rows,
        "snapshot": snapshot,
    }
    connection.execute(QUERIES["place_entry"], parameters)
    return replace(entry, rows=rows, snapshot=snapshot)


def extend(connection: Connection, entry: int, **noted: Any) -> None:
    """Note more beside an entry."""
    connection.execute(QUERIES["extend_entry"], {"id": entry, "document": jsonb.dump(noted)})


def complete(
    connection: Connection, entry: int, rows: int, checksum: str, *, before_ddl: bool
) -> None:
    """From now on it can be restored."""
    parameters = {"id": entry, "rows": rows, "checksum": checksum, "before_ddl": before_ddl}
    connection.execute(QUERIES["complete_entry"], parameters)


def forget(connection: Connection, entry: int, archived_in: str | None) -> None:
    """Drop an archive that nobody needs, and its entry."""
    if archived_in is not None:
        run(connection, f"DROP TABLE IF EXISTS {quoted(SCHEMA, archived_in)}")
    connection.execute(QUERIES["forget_entry"], {"id": entry})


def entries_of_run(
    connection: Connection, environment: str, revision: str, run_id: str | None
) -> tuple[Entry, ...]:
    """Copies that this run has made and not completed: it may have died in between."""
    parameters = {"environment": environment, "revision": revision, "run_id": run_id}
    return _entries(connection.execute(QUERIES["entries_of_run"], parameters))


def complete_of_run(
    connection: Connection, environment: str, revision: str, run_id: str | None
) -> tuple[ArchivedPart, ...]:
    """What this run has completed."""
    parameters = {"environment": environment, "revision": revision, "run_id": run_id}
    rows = connection.execute(QUERIES["complete_entries_of_run"], parameters)
    return tuple(part(entry) for entry in _entries(rows))


def entries(connection: Connection, ids: Iterable[int]) -> tuple[Entry, ...]:
    """The entries with these numbers that hold rows."""
    return _entries(connection.execute(QUERIES["entries"], {"ids": list(ids)}))


def to_restore(
    connection: Connection, environment: str, revision: str
) -> tuple[tuple[Entry, ...], tuple[tuple[int, Mapping[str, Any]], ...]]:
    """What may come back with the revision: pieces, and the documents of sequences."""
    parameters = {"environment": environment, "revision": revision}
    rows = connection.execute(QUERIES["entries_to_restore"], parameters).all()
    pieces = _entries(row for row in rows if row.kind != "sequence")
    return pieces, tuple((row.id, row.document) for row in rows if row.kind == "sequence")


def mark_restored(connection: Connection, part: RestoredPart) -> None:
    """Note what came back and what did not."""
    document = {**part.model_dump(), "left": part.left}
    connection.execute(
        QUERIES["mark_restored"], {"id": part.entry, "restored": jsonb.dump(document)}
    )


def part(entry: Entry) -> ArchivedPart:
    """The entry as it is reported."""
    kind: Kind = entry.piece.kind
    return ArchivedPart(
        entry=entry.id,
        kind=kind,
        schema_name=entry.piece.schema_name,
        table=entry.piece.table,
        columns=entry.piece.values,
        rows=entry.rows,
        archived_in=entry.archived_in,
    )


def _entries(rows: Iterable[Any]) -> tuple[Entry, ...]:
    return tuple(
        Entry(
            id=row.id,
            piece=Piece.model_validate(row.document["piece"]),
            archived_in=row.archived_in,
            rows=row.row_count or 0,
            snapshot=row.document.get("snapshot", ""),
            checksum=row.checksum,
            document=row.document,
        )
        for row in rows
        if row.archived_in is not None and "piece" in row.document
    )
