"""Load one batch: rows are copied to a temporary table, then sorted out by the database."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.experiments.ingestion import staging
from tasks.experiments.ingestion.batches import Content, keep_batch, once
from tasks.experiments.ingestion.columns import Records, encode
from tasks.experiments.ingestion.hints import unread_columns
from tasks.experiments.ingestion.moving import Moved, move, release
from tasks.experiments.ingestion.results import IngestedBatch
from tasks.experiments.ingestion.screening import screen
from tasks.runs import current_run

QUERIES = load_queries(__package__)


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
    staging.begin(tx)
    moved = Moved()
    release(tx, moved, everyone=True)
    tx.execute(QUERIES["explain_rejections"])
    reasons = staging.reasons_of(tx, is_released=True)
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


def _load(
    tx: Connection, content: Content, records: Records, fallback_id: Callable[[int], str]
) -> IngestedBatch:
    good, broken = encode(records, content.experiment, fallback_id)
    staging.begin(tx)
    staging.copy_rows(tx, good, broken, records)
    moved = Moved()
    if tx.scalar(QUERIES["overlaps_known"], content.key):
        tx.execute(QUERIES["drop_known"], content.key)
    tx.execute(QUERIES["resolve_incoming"])
    failure, moved.warnings = screen(tx)
    if failure is not None:
        tx.execute(QUERIES["reject_batch"], {"message": failure})
    else:
        move(tx, content, moved)
    tx.execute(QUERIES["explain_rejections"])
    staging.fill_raw(tx, records)
    return _result(tx, content, records, moved)


def _lacks_a_column(reasons: dict[str, int]) -> bool:
    return any(code.startswith("missing-") for code in reasons)


def _result(tx: Connection, content: Content, records: Records, moved: Moved) -> IngestedBatch:
    rows = len(records.raws)
    reasons = staging.reasons_of(tx, is_released=False)
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
        hints=unread_columns(records.raws) if _lacks_a_column(reasons) else (),
        warnings=moved.warnings,
        run_id=current_run().id,
    )
