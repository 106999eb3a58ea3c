"""Load what happened: assignments, events, and statistics of others."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from flows.artifacts import publish_report
from flows.pipeline import pipeline
from tasks.errors import InputError
from tasks.experiments import steps
from tasks.experiments.ingestion.files import scan_file
from tasks.experiments.ingestion.results import Ingested, IngestedBatch
from tasks.experiments.ingestion.sources.model import (
    AggregatesSource,
    FileSource,
    PagesSource,
    PieceSource,
    Source,
)
from tasks.runs import current_run


@pipeline(name="ingest-events", run_name="ingest-events/{source.kind}")
def ingest_events(source: Source) -> Ingested:
    """Load assignments and events, or aggregated statistics, from a source, each row once.

    The same content a second time changes nothing. An event that is known by its id and says
    something else now is corrected; one whose unit is not assigned yet waits for it. Rows that
    cannot be loaded are kept in `rejected_row` with their line and the reason; they do not stop
    the others. The run is refused if every row of the source was rejected.

    Args:
        source: a file, a query, pages over HTTP, a file of statistics, or a source that another
            package registered; with the day to load, where it asks for one.
    """
    day = source.day or (steps.choose_day() if source.asks_for_day else None)
    if isinstance(source, FileSource | AggregatesSource):
        batches = _load_file(source, day)
    else:
        batches = [batch for piece in _load_pieces(source, day) for batch in piece]
    ingested = Ingested.of(source.label, batches, current_run().id)
    publish_report("ingest-events", ingested.as_markdown())
    ingested.require_some_use()
    return ingested


@pipeline(name="release-waiting-events")
def release_waiting_events() -> Ingested:
    """Let events go on that waited for the assignment of their unit, where there is one by now.

    Loading assignments does that by itself; this is for units that applications assigned since.
    """
    batch = steps.release_waiting_events(slot="now")
    return Ingested.of("waiting events", [batch], current_run().id)


def _load_file(source: FileSource | AggregatesSource, day: date | None) -> list[IngestedBatch]:
    path = source.path_of(day)
    scan = scan_file(path, source.batch_size)
    step = steps.ingest_batch if isinstance(source, FileSource) else steps.ingest_statistics
    return [
        step(path=path, sha256=scan.sha256, batch=batch, experiment=source.experiment)
        for batch in scan.batches
    ]


def _load_pieces(source: PieceSource, day: date | None) -> Iterator[tuple[IngestedBatch, ...]]:
    place, pieces = None, 0
    while pieces == 0 or place is not None:
        if isinstance(source, PagesSource) and pieces == source.max_pages:
            raise InputError(f"{source.label} has more than {pieces} pages; raise max_pages")
        piece = steps.ingest_piece(source=source, place=place, day=day)
        yield piece.batches
        place, pieces = piece.next_place, pieces + 1
