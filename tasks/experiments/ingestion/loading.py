"""Load one batch: rows are copied to a temporary table, then sorted out by the database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from tasks.database import load_queries
from tasks.experiments.ingestion.batches import Content, keep_batch, once
from tasks.experiments.ingestion.columns import Encoded, Records, encode
from tasks.experiments.ingestion.events import Row
from tasks.experiments.ingestion.results import IngestedBatch
from tasks.experiments.ingestion.screening import screen
from tasks.experiments.ingestion.values import BrokenRow, dump
from tasks.runs import current_run

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
    settled: int = 0  # by an earlier batch of the same content
    warnings: tuple[str, ...] = field(default=())


def load_rows(
    tx: Connection,
    content: Content,
    read: Callable[[], Records],
    fallback_id: Callable[[int], str] | None = None,
) -> IngestedBatch:
    """Load a batch of assignments and events once.

    ``fallback_id`` names an event without an id by its place in the batch; by default by the
    content and the row's place in it.
    """

    def load() -> IngestedBatch:
        records = read()
        named = fallback_id or (lambda place: f"{content.sha256}:{records.row_numbers[place]}")
        return _load(tx, content, records, named)

    return once(tx, content, load)


def release_waiting(tx: Connection) -> IngestedBatch:
    """Let every event go on whose unit has its assignment by now."""
    begin(tx)
    moved = Moved()
    _release(tx, moved, everyone=True)
    tx.execute(QUERIES["explain_rejections"])
    reasons = reasons_of(tx, is_released=True)
    numbers = tx.execute(QUERIES["released_numbers"]).one()
    loaded = IngestedBatch(
        number=0,
        rows=numbers.rows,
        events=moved.released,
        duplicates=numbers.rows - moved.released - sum(reasons.values()),
        rejected=sum(reasons.values()),
        reasons=reasons,
        run_id=current_run().id,
    )
    if reasons:
        content = Content("waiting_event", "waiting", 0, numbers.first, numbers.rows)
        keep_batch(tx, content, loaded)
    return loaded


def begin(tx: Connection) -> None:
    """An empty `incoming_row`."""
    tx.execute(QUERIES["create_incoming"])
    tx.execute(QUERIES["empty_incoming"])


def _load(
    tx: Connection, content: Content, records: Records, fallback_id: Callable[[int], str]
) -> IngestedBatch:
    good, broken = encode(records, content.experiment, fallback_id)
    begin(tx)
    _copy(tx, good, broken, records)
    moved = Moved()
    if tx.scalar(QUERIES["overlaps_known"], content.key):
        moved.settled = tx.execute(QUERIES["drop_known"], content.key).rowcount
    tx.execute(QUERIES["resolve_incoming"])
    failure, moved.warnings = screen(tx)
    if failure is not None:
        tx.execute(QUERIES["reject_batch"], {"message": failure})
    else:
        _move(tx, content, moved)
    tx.execute(QUERIES["explain_rejections"])
    _fill_raw(tx, records)
    return _result(tx, content, len(records.raws), moved)


def _move(tx: Connection, content: Content, moved: Moved) -> None:
    good = tx.execute(QUERIES["count_incoming"]).one()
    if good.assignments:
        moved.assignments = tx.execute(QUERIES["insert_assignments"]).scalar_one()
        tx.execute(QUERIES["reject_conflicting_assignments"])
        _release(tx, moved, everyone=False)
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


def _release(tx: Connection, moved: Moved, *, everyone: bool) -> None:
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


def _result(tx: Connection, content: Content, rows: int, moved: Moved) -> IngestedBatch:
    reasons = reasons_of(tx, is_released=False)
    gone = moved.assignments + moved.events + moved.corrected + moved.waiting
    return IngestedBatch(
        number=content.number,
        rows=rows,
        assignments=moved.assignments,
        events=moved.events,
        corrected=moved.corrected,
        duplicates=rows - gone - sum(reasons.values()),
        waiting=moved.waiting,
        released=moved.released,
        rejected=sum(reasons.values()),
        reasons=reasons,
        warnings=moved.warnings,
        run_id=current_run().id,
    )


def reasons_of(tx: Connection, *, is_released: bool = False) -> dict[str, int]:
    """How many rows in `incoming_row` were rejected for which reason."""
    found = tx.execute(QUERIES["count_reasons"], {"is_released": is_released})
    return {row.reason_code: row.rows for row in found}


def _copy(
    tx: Connection, good: list[Encoded], broken: list[tuple[int, Row]], records: Records
) -> None:
    driver: Any = tx.connection.driver_connection
    for each in (each for each in good if each.row_count):
        statement = f"COPY incoming_row ({', '.join(each.columns)}) FROM STDIN"
        with driver.cursor().copy(statement) as copy:
            copy.write(each.text)
    copy_broken(tx, broken, records)
    tx.execute(text("ANALYZE incoming_row (user_id, event_id)"))


def copy_broken(tx: Connection, broken: list[tuple[int, Row]], records: Records) -> None:
    """Put rows that could not be read into `incoming_row`."""
    columns = "line_number, row_number, raw, reason_code, message"
    driver: Any = tx.connection.driver_connection
    with driver.cursor().copy(f"COPY incoming_row ({columns}) FROM STDIN") as copy:
        for place, row in broken:
            number = records.row_numbers[place]
            copy.write_row((row.line_number, number, row.raw, row.reason_code, row.message))


def _fill_raw(tx: Connection, records: Records) -> None:
    numbers = list(tx.scalars(QUERIES["find_unkept"]))
    if not numbers:
        return
    said = dict(zip(records.row_numbers, records.raws, strict=True))
    raws = [dump(raw.raw if isinstance(raw := said[n], BrokenRow) else dict(raw)) for n in numbers]
    tx.execute(QUERIES["fill_raw"], {"row_numbers": numbers, "raws": raws})
