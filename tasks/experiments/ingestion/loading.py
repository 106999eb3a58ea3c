"""Load one batch: rows are copied to a temporary table, then sorted out by the database."""

from __future__ import annotations

from dataclasses import astuple, fields
from typing import Any

from sqlalchemy import Connection, text

from tasks.database import load_queries
from tasks.experiments.ingestion.events import Row
from tasks.experiments.ingestion.files import read_batch
from tasks.experiments.ingestion.formats import Batch
from tasks.experiments.ingestion.results import IngestedBatch
from tasks.runs import current_run

QUERIES = load_queries(__package__)
_COLUMNS = ", ".join(field.name for field in fields(Row))


def load(
    tx: Connection, path: str, sha256: str, batch: Batch, experiment: str | None
) -> IngestedBatch:
    """Put the batch's rows where they belong; what does not fit stays in `incoming_row`."""
    rows = read_batch(path, batch, sha256, experiment)
    tx.execute(QUERIES["create_incoming"])
    _copy(tx, rows)
    tx.execute(QUERIES["resolve_incoming"])
    tx.execute(QUERIES["reject_unknown"])
    assignments = tx.execute(QUERIES["insert_assignments"]).rowcount
    tx.execute(QUERIES["reject_conflicting_assignments"])
    tx.execute(QUERIES["match_events"])
    tx.execute(QUERIES["reject_unassigned"])
    events = tx.execute(QUERIES["insert_events"]).rowcount
    tx.execute(QUERIES["mark_converted"])
    good = tx.execute(QUERIES["count_incoming"]).one()
    reasons = {row.reason_code: row.rows for row in tx.execute(QUERIES["count_reasons"])}
    return IngestedBatch(
        number=batch.number,
        rows=len(rows),
        assignments=assignments,
        events=events,
        duplicates=good.assignments + good.events - assignments - events,
        rejected=sum(reasons.values()),
        reasons=reasons,
        run_id=current_run().id,
    )


def known_batch(batch: Batch, known: Any) -> IngestedBatch:
    """Say what the batch came to when it was loaded before."""
    return IngestedBatch(
        number=batch.number,
        rows=known.assignment_count
        + known.event_count
        + known.duplicate_count
        + known.rejected_count,
        assignments=known.assignment_count,
        events=known.event_count,
        duplicates=known.duplicate_count,
        rejected=known.rejected_count,
        run_id=known.run_id,
    )


def _copy(tx: Connection, rows: list[Row]) -> None:
    driver: Any = tx.connection.driver_connection
    with driver.cursor().copy(f"COPY incoming_row ({_COLUMNS}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(astuple(row))
    tx.execute(text("ANALYZE incoming_row"))
