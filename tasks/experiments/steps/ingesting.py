"""Steps that load what happened."""

from __future__ import annotations

from datetime import date, timedelta

from sqlalchemy import Connection

from tasks import clock
from tasks.experiments.ingestion import aggregates, loading, streaming
from tasks.experiments.ingestion.batches import Content, once
from tasks.experiments.ingestion.files import read_batch
from tasks.experiments.ingestion.formats import Batch
from tasks.experiments.ingestion.results import IngestedBatch
from tasks.experiments.ingestion.sources.model import PieceSource
from tasks.ledger import step


def _content_key(path: str, sha256: str, batch: Batch, experiment: str | None = None) -> str:
    del path  # the same content is the same batch, wherever it lies
    return f"{sha256}:{experiment or ''}:{batch.first_row}+{batch.row_count}"


@step(key=_content_key)
def ingest_batch(
    tx: Connection, path: str, sha256: str, batch: Batch, experiment: str | None = None
) -> IngestedBatch:
    """Load one batch of a file: assignments and events once each, broken rows with their reason.

    Events whose unit is not assigned yet wait for it. A batch that an earlier run loaded is left
    alone, unless rows of it were rejected for want of an experiment, a variant or the time to
    come: then what fits by now is loaded.
    """
    content = _content(path, sha256, batch, experiment)
    return loading.load_rows(tx, content, lambda: read_batch(path, batch))


@step(key=_content_key)
def ingest_statistics(
    tx: Connection, path: str, sha256: str, batch: Batch, experiment: str | None = None
) -> IngestedBatch:
    """Load one batch of statistics that somebody else aggregated, each arm and moment once.

    What a moment says anew replaces what it said before.
    """
    content = _content(path, sha256, batch, experiment)
    return once(
        tx, content, lambda: aggregates.load_statistics(tx, content, read_batch(path, batch))
    )


@step(key="yesterday")
def choose_day(tx: Connection) -> date:
    """The day to load where none is named: yesterday, in UTC; fixed for the run."""
    return (clock.now(tx) - timedelta(days=1)).date()


@step(key=lambda source, place=None, day=None: f"{source.digest}:{day or ''}:{place or ''}")
def ingest_piece(
    tx: Connection, source: PieceSource, place: str | None = None, day: date | None = None
) -> streaming.LoadedPiece:
    """Read a piece of a source, a page or a whole query, and load its rows once each.

    Args:
        tx: the transaction.
        source: what to read.
        place: where to go on; the one before names it.
        day: the day to load, for a source that asks for one.
    """
    return streaming.load_piece(tx, source, place, day)


@step(key="{slot}")
def release_waiting_events(tx: Connection, slot: str) -> IngestedBatch:
    """Let the events go on that waited for an assignment which there is by now.

    Args:
        tx: the transaction.
        slot: names the occasion, so that a run may do it more than once.
    """
    del slot
    return loading.release_waiting(tx)


def _content(path: str, sha256: str, batch: Batch, experiment: str | None) -> Content:
    return Content(path, sha256, batch.number, batch.first_row, batch.row_count, experiment)
