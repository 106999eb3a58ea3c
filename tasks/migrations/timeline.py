"""What happened to an environment, newest first: what ran, what failed, what was refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks.database import control_engine, load_queries
from tasks.errors import Reason
from tasks.migrations import environments

QUERIES = load_queries(__package__, "timeline.sql")
_VERSION = load_queries("tasks.migrations.revision_graph", "graph.sql")["history_version"]


class HistoryRow(BaseModel):
    """Something that happened to an environment.

    A failure has the statement and what the database said; a refusal its ``reasons``, and the
    number of its row in `headway.decision`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: datetime
    outcome: Literal["done", "failed", "refused"]
    direction: str | None = None
    revision: str | None = None
    actor: str | None = None
    reason: str | None = None
    run_id: str | None = None
    seconds: float | None = None
    script_checksum: str | None = None
    statement: str | None = None
    sqlstate: str | None = None
    message: str | None = None
    reasons: tuple[Reason, ...] = ()
    decision_id: int | None = None


class BrokenLink(BaseModel):
    """A row of the history that does not fit the one before it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: int
    revision: str
    direction: str
    problem: str


def read_history(environment: str, limit: int = 20) -> list[HistoryRow]:
    """The newest rows: from the environment's own database, and refusals from the control database.

    Raises:
        NotFound: there is no such environment.
    """
    target = environments.find(environment)
    with environments.engine(target.url, "headway-history").connect() as connection:
        rows = list(_runs(connection, limit))
    with control_engine().connect() as connection:
        rows += _refusals(connection, environment, limit)
    return sorted(rows, key=lambda row: row.at, reverse=True)[:limit]


def verify_environment(environment: str) -> tuple[BrokenLink, ...]:
    """`verify_chain` on the environment's own database."""
    target = environments.find(environment)
    with environments.engine(target.url, "headway-history").connect() as connection:
        return verify_chain(connection)


def verify_chain(connection: Connection) -> tuple[BrokenLink, ...]:
    """Rows of the history that were changed, or whose predecessor was changed or deleted.

    Rows from before histories were chained are left out. What was cut off at the end leaves no
    trace in what is left.
    """
    if connection.scalar(_VERSION) != 2:
        return ()
    return tuple(
        BrokenLink(
            id=row.id,
            revision=row.revision,
            direction=row.direction,
            problem="it was added past the trigger"
            if row.is_unchained
            else "it was changed, or the row before it was changed or deleted",
        )
        for row in connection.execute(QUERIES["broken_links"])
    )


def _runs(connection: Connection, limit: int) -> Iterator[HistoryRow]:
    version = connection.scalar(_VERSION)
    if not version:
        return
    name = "newest_runs" if version == 2 else "runs_before_contents"
    for row in connection.execute(QUERIES[name], {"limit": limit}).mappings():
        yield HistoryRow(**{key: value for key, value in row.items() if key != "id"})


def _refusals(connection: Connection, environment: str, limit: int) -> Iterator[HistoryRow]:
    """One row for each run and what it was refused for: a gate repeats what its parts say."""
    subject = f"migration:{environment}"
    asked = {"subject": subject, "limit": 4 * limit}
    seen: set[tuple[str, str]] = set()
    for row in connection.execute(QUERIES["refusals"], asked):
        reasons = tuple(
            Reason(**reason)
            for reason in row.reasons
            if (row.run_id, reason["message"]) not in seen or row.run_id is None
        )
        seen |= {(row.run_id, reason.message) for reason in reasons}
        if reasons or not row.reasons:
            yield _refusal(row, row.subject.removeprefix(subject).removeprefix(":"), reasons)


def _refusal(row: Any, revision: str, reasons: tuple[Reason, ...]) -> HistoryRow:
    return HistoryRow(
        at=row.at,
        outcome="refused",
        direction=row.direction,
        revision=revision or None,
        actor=row.actor,
        reason=row.reason,
        run_id=row.run_id,
        message="; ".join(f"[{reason.code}] {reason.message}" for reason in reasons) or None,
        reasons=reasons,
        decision_id=row.id,
    )
