"""The rows of `headway.migration_statement`: what is done of a revision that commits on its way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from tasks.database import load_queries
from tasks.errors import Reason, Refused
from tasks.migrations.applying import statement_kinds
from tasks.migrations.revision_graph.plan import Direction

QUERIES = load_queries(__package__, "statements.sql")


@dataclass(frozen=True, slots=True)
class Place:
    """Which revision runs where, and for which run."""

    environment: str
    revision: str
    direction: Direction
    run_id: str | None


def read(connection: Connection, place: Place) -> list[Row[Any]]:
    """What was sent of the revision since it last came to its end, in order."""
    is_callers = connection.in_transaction()
    asked = {"revision": place.revision, "direction": place.direction}
    found = list(connection.execute(QUERIES["known_statements"], asked))
    if not is_callers:
        connection.rollback()
    return found


def write(
    connection: Connection, place: Place, position: int, digest: str, statement: str, state: str
) -> int:
    """Write a statement down, in the transaction that the connection is in; returns its row."""
    row = {
        "environment": place.environment,
        "revision": place.revision,
        "direction": place.direction,
        "position": position,
        "statement_hash": digest,
        "statement": statement_kinds.shorten(statement),
        "state": state,
        "run_id": place.run_id,
    }
    return int(connection.execute(QUERIES["write_statement"], row).scalar_one())


def end(connection: Connection, row: int, state: str, sqlstate: str | None = None) -> None:
    """Write down what became of a statement that was sent."""
    connection.execute(QUERIES["end_statement"], {"id": row, "state": state, "sqlstate": sqlstate})


def mismatch(place: Place, row: Row[Any], statement: str) -> Refused:
    """The refusal of a revision that no longer says what was done of it."""
    reason = Reason(
        "journal-does-not-match",
        f"{place.revision} was done in part, and committed: as statement {row.position} "
        f"`{statement_kinds.shorten(row.statement, 120)}` was sent, where it now has "
        f"`{statement_kinds.shorten(statement, 120)}`. Give the revision back the statements "
        "that were done and change only what follows, or undo those by hand and delete their "
        "rows from headway.migration_statement",
    )
    return Refused(f"{place.direction} of {place.environment}", [reason])
