"""Load what was measured of versions elsewhere."""

from __future__ import annotations

from flows.artifacts import publish_report, publish_table
from flows.pipeline import Text, pipeline
from tasks.rollouts.health.loading import LoadedSamples
from tasks.rollouts.steps import sampling as steps


@pipeline(name="load-health-samples", run_name="load-health-samples/{path}")
def load_health_samples(path: Text) -> LoadedSamples:
    """Load health samples from a CSV or JSON lines file, each row once.

    A row holds model_version, metric and value_sum, and where they are known sample_count,
    square_sum, observed_at (with its zone), source and event_id. Rows that do not fit are kept in
    `rejected_row` with their line and the reason; they do not stop the others.

    Args:
        path: The file, as the worker sees it; .csv with a header, .jsonl or .ndjson.
    """
    loaded = steps.load_health_samples(path=path)
    publish_report("health-samples", loaded.summary)
    if loaded.first_rejected:
        publish_table("rejected-samples", [each.model_dump() for each in loaded.first_rejected])
    return loaded
