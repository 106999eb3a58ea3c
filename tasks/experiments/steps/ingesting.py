"""Steps that load what happened."""

from __future__ import annotations

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.experiments.ingestion import loading
from tasks.experiments.ingestion.formats import Batch
from tasks.experiments.ingestion.results import IngestedBatch
from tasks.ledger import current_run, step

QUERIES = load_queries("tasks.experiments.ingestion")


@step(
    key=lambda path, sha256, batch, experiment=None: (  # noqa: ARG005 - same content, same batch
        f"{sha256}:{experiment or ''}:{batch.first_row}+{batch.row_count}"
    ),
)
def ingest_batch(
    tx: Connection, path: str, sha256: str, batch: Batch, experiment: str | None = None
) -> IngestedBatch:
    """Load one batch of rows: assignments and events once each, broken rows with their reason.

    One that an earlier run loaded is left alone, unless rows of it were rejected for want of an
    experiment, a variant, an assignment or the time to come: then what fits by now is loaded.
    """
    content = {
        "sha256": sha256,
        "experiment": experiment or "",
        "first_row": batch.first_row,
        "row_count": batch.row_count,
    }
    tx.execute(QUERIES["lock_content"], content)
    known = tx.execute(QUERIES["find_batch"], content).first()
    if known is not None and not known.may_fit_now:
        return loading.known_batch(batch, known)
    loaded = loading.load(tx, path, sha256, batch, experiment)
    if known is not None:
        return loaded
    batch_id = tx.scalar(
        QUERIES["record_batch"],
        content
        | loaded.model_dump(include={"assignments", "events", "duplicates", "rejected"})
        | {"source": path, "batch_number": batch.number, "run_id": current_run().id},
    )
    tx.execute(QUERIES["keep_rejected"], content | {"batch_id": batch_id})
    return loaded
