"""Report on experiments: what was decided, as pages that stay in the UI."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from flows.artifacts import publish_report, publish_table
from flows.pipeline import Text, one_or_all, pipeline
from tasks.errors import ItemsFailed
from tasks.experiments import steps
from tasks.experiments.reporting.comparison import BY, PERIODS, compare
from tasks.experiments.reporting.dashboard import DashboardRow, read_dashboard
from tasks.experiments.reporting.detailed import read_report
from tasks.experiments.reporting.holdout import read_holdout, reported_holdouts
from tasks.experiments.reporting.reading import one_moment


class Reported(BaseModel):
    """What a run reported."""

    model_config = ConfigDict(frozen=True)

    counts: dict[str, int]
    experiments: tuple[str, ...]

    @property
    def summary(self) -> str:
        """One line."""
        return f"reported {', '.join(self.experiments) or 'no experiment'}"


@pipeline(name="report-experiments", run_name=one_or_all("experiment"))
def report_experiments(experiment: Text | None = None) -> Reported:
    """Write the dashboard, and for each experiment its report and comparisons, as artifacts.

    A holdout gets a page more: what it shows beside what was launched since it began.
    Shows what the looks decided, and decides nothing. A report that cannot be written stops no
    other; the run then ends Failed and names it.

    Args:
        experiment: only this one, whatever its state; else all that run or pause, and those that
            ended within a day.
    """
    names = steps.list_reported_experiments(experiment=experiment)
    with one_moment() as connection:
        dashboard = read_dashboard(connection)
    publish_report("experiments-dashboard", dashboard.as_markdown())
    publish_table("report-experiments", [_line(row) for row in dashboard.experiments])
    failures: dict[str, str] = {}
    for name in names:
        # Nothing is written to the database here, so that there is nothing to remember as a step:
        # a run that goes on publishes the same pages again.
        try:
            _publish(name)
        except Exception as error:  # told at the end, with all others
            failures[name] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    if failures:
        raise ItemsFailed("reports", failures)
    return Reported(counts=dashboard.counts, experiments=tuple(names))


def _publish(name: str) -> None:
    with one_moment() as connection:
        report = read_report(connection, name)
        pages = [
            compare(connection, name, by, days).as_markdown()
            for by in BY
            for days in (PERIODS if by == "period" else PERIODS[:1])
        ]
        holdouts = [
            read_holdout(connection, each) for each in reported_holdouts(connection, [name])
        ]
    publish_report(f"report-{name}", report.as_markdown())
    publish_report(f"comparison-{name}", "\n".join(pages))
    for holdout in holdouts:
        publish_report(f"holdout-{name}", holdout.as_markdown())


def _line(row: DashboardRow) -> dict[str, str | int]:
    planned = row.planned_sample
    return {
        "experiment": row.name,
        "status": row.status,
        "day": "" if row.day is None else f"{row.day} of {_days(row)}",
        "sample": row.sample if not planned else f"{row.sample} of {planned}",
        "verdict": row.sentence,
        "failed": ", ".join((*row.failed_checks, *row.failed_metrics)),
        "next": " ".join(row.next_steps),
    }


def _days(row: DashboardRow) -> str:
    return f"{'about ' if row.is_end_expected else ''}{row.days or '?'}"
