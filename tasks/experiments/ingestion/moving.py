"""Move the good rows of a batch to where they belong, by a few statements for all of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from tasks.database import load_queries
from tasks.experiments.ingestion.batches import Content

QUERIES = load_queries(__package__)
_UNIQUE_VIOLATION = "23505"


@dataclass(slots=True)
class Moved:
    """How many rows went where."""

    assignments: int = 0
    events: int = 0
    corrected: int = 0
    waiting: int = 0
    released: int = 0
    warnings: tuple[str, ...] = field(default=())


def move(tx: Connection, content: Content, moved: Moved) -> None:
    """Assignments first: events may have come with theirs, or waited for it."""
    good = tx.execute(QUERIES["count_incoming"]).one()
    if good.assignments:
        moved.assignments = tx.execute(QUERIES["insert_assignments"]).scalar_one()
        tx.execute(QUERIES["reject_conflicting_assignments"])
        release(tx, moved, everyone=False)
        tx.execute(QUERIES["match_events"])
        good = tx.execute(QUERIES["count_incoming"]).one()
    if good.unassigned:
        moved.waiting = tx.execute(QUERIES["keep_waiting"], {"source": content.origin}).rowcount
    if not good.events:
        return
    moved.events = _insert(tx, content.origin, is_released=False)
    if moved.events < good.events:
        tx.execute(QUERIES["reject_taken_ids"], {"is_released": False})
        corrected = tx.execute(QUERIES["correct_events"]).all()
        moved.corrected = sum(row.events for row in corrected)
    else:
        corrected = []
    tx.execute(QUERIES["mark_converted"])
    if corrected:
        units = [row.assignment_id for row in corrected]
        tx.execute(QUERIES["recount_conversions"], {"assignments": units})


def release(tx: Connection, moved: Moved, *, everyone: bool) -> None:
    """Let events go on that waited for an assignment of this batch, or of whatever came before."""
    if not tx.execute(QUERIES["take_waiting"], {"everyone": everyone}).rowcount:
        return
    tx.execute(QUERIES["match_events"])
    moved.released = _insert(tx, "waiting", is_released=True)
    tx.execute(QUERIES["reject_taken_ids"], {"is_released": True})
    tx.execute(QUERIES["mark_converted"])


def _insert(tx: Connection, source: str, *, is_released: bool) -> int:
    """How many events were new. Mostly all are, and without looking for others it is faster."""
    given = {"source": source, "is_released": is_released}
    try:
        with tx.begin_nested():
            inserted: int = tx.execute(QUERIES["insert_events"], given).rowcount
    except IntegrityError as error:
        if getattr(error.orig, "sqlstate", None) != _UNIQUE_VIOLATION:
            raise
        inserted = tx.execute(QUERIES["insert_new_events"], given).scalar_one()
    else:
        tx.execute(QUERIES["touch_units"], given)
    return inserted
