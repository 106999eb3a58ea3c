"""Steps that load what happened."""

from __future__ import annotations

from sqlalchemy import Connection

from tasks.experiments.ingestion import loading
from tasks.experiments.ingestion.files import read_batch
from tasks.experiments.ingestion.formats import Batch
from tasks.experiments.ingestion.results import IngestedBatch
from tasks.ledger import step


@step(
    key=lambda path, sha256, batch, experiment=None: (  # noqa: ARG005 - same content, same batch
        f"{sha256}:{experiment or ''}:{batch.first_row}+{batch.row_count}"
    ),
)
def ingest_batch(
    tx: Connection, path: str, sha256: str, batch: Batch, experiment: str | None = None
) -> IngestedBatch:
    """Load one batch of rows: assignments and events once each, broken rows with their reason.

    Events whose unit is not assigned yet wait for it. A batch that an earlier run loaded is left
    alone, unless rows of it were rejected for want of an experiment, a variant or the time to
    come: then what fits by now is loaded.
    """
    content = loading.Content(
        path, sha256, batch.number, batch.first_row, batch.row_count, experiment
    )
    return loading.load_once(tx, content, lambda: read_batch(path, batch))


@step(key="hour:{slot}")
def release_waiting_events(tx: Connection, slot: str) -> IngestedBatch:
    """Let the events go on that waited for an assignment which there is by now.

    Args:
        tx: the transaction.
        slot: names the occasion, so that a run may do it more than once.
    """
    del slot
    return loading.release_waiting(tx)
