"""What belongs to a table or column and no revision makes: kept as SQL, made again if missing.

Grants, comments, the owner; indexes, constraints, triggers, statistics, rules and policies that
somebody added by hand; partitions that a job adds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tasks.database import load_queries
from tasks.migrations.archive.pieces import Piece
from tasks.migrations.archive.registry import Entry
from tasks.migrations.archive.sql import run, settled

QUERIES = load_queries(__package__, "surroundings.sql")
_BEFORE_ROWS = "partition"


def of(connection: Connection, piece: Piece) -> dict[str, list[dict[str, Any]]]:
    """The statements that make what belongs to a table or columns that will be dropped."""
    if piece.kind not in {"table", "column"}:
        return {}
    relation = {"relation": piece.relation}
    columns = None
    if piece.kind == "column":
        named = {**relation, "columns": list(piece.values)}
        columns = connection.scalar(QUERIES["column_numbers"], named)
    with settled(connection, search_path="pg_catalog"):
        rows = connection.execute(QUERIES["objects"], {**relation, "columns": columns})
        found = [dict(row) for row in rows.mappings()]
    return {"objects": found}


def before_rows(connection: Connection, entries: Sequence[Entry]) -> dict[int, list[str]]:
    """Make the partitions that are missing, so that rows find a place; what failed, by entry."""
    problems: dict[int, list[str]] = {}
    for entry, each in _objects(entries):
        if each["kind"] == _BEFORE_ROWS:
            for problem in _make(connection, each):
                problems.setdefault(entry, []).append(problem)
    return problems


def after_rows(connection: Connection, entries: Sequence[Entry]) -> Iterator[tuple[int, str]]:
    """Make everything else that is missing; what failed, with the number of its entry."""
    listed = [each for each in _objects(entries) if each[1]["kind"] != _BEFORE_ROWS]
    for entry, each in sorted(listed, key=lambda pair: pair[1]["position"]):
        for problem in _make(connection, each):
            yield entry, problem


def _objects(entries: Sequence[Entry]) -> Iterator[tuple[int, dict[str, Any]]]:
    for entry in entries:
        for each in entry.document.get("objects", ()):
            yield entry.id, each


def _make(connection: Connection, wanted: dict[str, Any]) -> Iterator[str]:
    trial = connection.begin_nested()
    try:
        with settled(connection, search_path="pg_catalog"):
            is_present = run(connection, f"SELECT {wanted['present']}").scalar()
        if not is_present:
            run(connection, wanted["sql"])
    except DBAPIError as error:
        trial.rollback()
        yield f"{wanted['kind']} {wanted['name']} could not be made again: {_cause(error)}"
    else:
        trial.commit()


def _cause(error: DBAPIError) -> str:
    diagnosis = getattr(error.orig, "diag", None)
    said = diagnosis and diagnosis.message_primary
    return str(said or getattr(error.orig, "sqlstate", "") or "unknown")
