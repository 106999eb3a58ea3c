"""Experiments: load what happened, look for a winner."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flows.artifacts import publish_report, publish_table
from flows.pipeline import Text, pipeline
from tasks.errors import ItemsFailed
from tasks.experiments import steps
from tasks.experiments.analysis.results import Analysis
from tasks.experiments.ingestion.files import scan_file
from tasks.experiments.ingestion.results import Ingested
from tasks.experiments.reporting import report
from tasks.runs import current_run


@pipeline(name="ingest-events", run_name="ingest-events/{path}")
def ingest_events(
    path: Text,
    experiment: str | None = None,
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000,
) -> Ingested:
    """Load assignments and events from a CSV, JSON lines or Parquet file, each row once.

    The same file a second time changes nothing. Rows that cannot be loaded are kept in
    `rejected_row` with their line and the reason; they do not stop the others.

    Args:
        path: the file, as the worker sees it (.csv, .jsonl, .ndjson, .parquet).
        experiment: name of the experiment, for files whose rows do not name it.
        batch_size: rows to load in one transaction.
    """
    scan = scan_file(path, batch_size)
    batches = [
        steps.ingest_batch(path=path, sha256=scan.sha256, batch=batch, experiment=experiment)
        for batch in scan.batches
    ]
    ingested = Ingested.of(path, batches, current_run().id)
    publish_report("ingest-events", ingested.as_markdown())
    return ingested


@pipeline(name="analyze-experiments")
def analyze_experiments() -> list[Analysis]:
    """Look at every active experiment: is there a winner yet?

    For each one with new data: check the data and the traffic split, compare the arms, judge
    them by bounds that allow for looking often, and record the decision. An experiment is
    completed with its winner or at its planned sample. One that fails stops no other.
    """
    due = steps.list_due_experiments()
    if not due:
        publish_report("experiments", "No experiment is due: there was nothing to analyze.")
        return []
    quality = steps.check_experiment_data()
    looks = steps.analyze_experiment.map(
        [{"experiment_id": experiment.id, "quality": quality} for experiment in due]
    )
    analyses = [look for look in looks if isinstance(look, Analysis)]
    for analysis in (each for each in analyses if not each.is_skipped):
        publish_report(f"experiment-{analysis.experiment}", report.as_markdown(analysis))
    publish_table("analyze-experiments", [report.summary_row(analysis) for analysis in analyses])
    failures = {
        experiment.name: f"{type(look).__name__}: {look}"
        for experiment, look in zip(due, looks, strict=True)
        if isinstance(look, Exception)
    }
    if failures:
        raise ItemsFailed("experiments", failures)
    return analyses
