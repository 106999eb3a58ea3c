"""Experiments: look for a winner."""

from __future__ import annotations

from flows.artifacts import publish_report, publish_table
from flows.pipeline import pipeline
from tasks.errors import ItemsFailed
from tasks.experiments import steps
from tasks.experiments.analysis.results import Analysis
from tasks.experiments.reporting import report


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
