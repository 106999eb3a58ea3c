"""What units did lately: by it the next experiment is planned."""

from __future__ import annotations

from math import sqrt
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, Row

from tasks.database import load_queries
from tasks.experiments.definition.plan import ExperimentPlan
from tasks.experiments.definition.sample import Baseline

QUERIES = load_queries(__package__, "history.sql")
_SEEN = {"event_type", "aggregation", "missing", "cap_quantile", "quantile"}
_SEEN |= {"denominator_event_type", "denominator_aggregation"}


class History(BaseModel):
    """What the control's units did lately by one metric, and how many units came."""

    model_config = ConfigDict(frozen=True)

    days: int
    units: int  # of the control, whose window is over
    n: int  # of these, with a value
    baseline: Baseline | None  # None: too few, or values that do not vary
    units_a_day: float | None  # of everybody, were all of them let in


def read_history(tx: Connection, plan: ExperimentPlan, days: int) -> History:
    """What units of experiments on the same events did in the last ``days`` days."""
    metric = plan.metric
    window = {"window_start": metric.window_start_hours, "window_end": metric.window_hours}
    asked = metric.model_dump(include=_SEEN) | window | {"days": days}
    row = tx.execute(QUERIES["history"], asked).one()
    return History(
        days=days,
        units=row.units,
        n=row.n,
        baseline=_baseline(row, metric.kind),
        units_a_day=row.units_a_day,
    )


def _baseline(row: Row[Any], kind: str) -> Baseline | None:
    mean, variance = row.mean, row.variance
    if kind == "ratio" and row.denominator_mean:
        # Delta method: the variance of (value - ratio · denominator) / mean denominator.
        mean = row.mean / row.denominator_mean
        spread = row.variance - 2 * mean * row.covariance + mean**2 * row.denominator_variance
        variance = spread / row.denominator_mean**2
    if kind == "quantile":
        mean = row.at_quantile
    if not mean or not variance or variance <= 0:
        return None
    return Baseline(mean=mean, standard_deviation=sqrt(variance))
