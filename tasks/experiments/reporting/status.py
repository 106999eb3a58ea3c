"""Where the experiments stand: read from the tables alone."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.decisions import Verdict
from tasks.errors import NotFound
from tasks.experiments.analysis.reading import past_looks
from tasks.experiments.analysis.results import Analysis
from tasks.experiments.reporting.report import as_markdown

QUERIES = load_queries(__package__)


class ExperimentStatus(BaseModel):
    """One experiment, its last verdict and how often it was looked at."""

    model_config = ConfigDict(frozen=True)

    name: str
    status: str
    looks: int
    winner: str | None
    significance: float | None
    last_verdict: str | None
    last_look_at: datetime | None


class LatestAnalysis(BaseModel):
    """The last look at an experiment, with its report."""

    model_config = ConfigDict(frozen=True)

    analysis: Analysis
    markdown: str


def experiment_status(connection: Connection) -> list[ExperimentStatus]:
    """List every experiment, the newest first."""
    rows = connection.execute(QUERIES["experiments_status"]).all()
    return [ExperimentStatus(**row._asdict()) for row in rows]


def latest_analysis(connection: Connection, name: str) -> LatestAnalysis:
    """Return the last look at an experiment; NotFound where there is none."""
    row = connection.execute(QUERIES["latest_decision"], {"name": name}).first()
    if row is None:
        raise NotFound(f"no experiment is called {name!r}")
    if row.decision_id is None:
        raise NotFound(f"experiment {name!r} has not been analysed yet")
    verdict = Verdict.model_validate(
        {"verdict": row.verdict, "reasons": row.reasons, "details": row.details}
    )
    analysis = Analysis(
        experiment=name,
        experiment_id=str(row.id),
        metric=row.metric,
        kind=row.kind,
        is_skipped=False,
        is_over=row.status == "completed",
        message=verdict.reasons[0].message,
        fraction=verdict.details["information_fraction"],
        winner=verdict.details["winner"],
        decision_id=row.decision_id,
        verdict=verdict,
        looks=past_looks(connection, [str(row.id)]).get(str(row.id), ()),
    )
    return LatestAnalysis(analysis=analysis, markdown=as_markdown(analysis))
