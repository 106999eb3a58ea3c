"""What units did lately: by it the next experiment is planned."""

from __future__ import annotations

from math import sqrt
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, Row, text

from tasks.database import load_queries
from tasks.experiments.definition.plan import ExperimentPlan
from tasks.experiments.definition.sample import Baseline
from tasks.experiments.statistics.quantiles import quantile_estimate, quantile_ranks

QUERIES = load_queries(__package__, "history.sql")
_SEEN = {"event_type", "aggregation", "missing", "cap_quantile", "quantile"}
_SEEN |= {"denominator_event_type", "denominator_aggregation"}
_SEEN |= {"covariate_days", "covariate_attribute"}
_FEWEST = 3  # units, to say how two values of them go together


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
    row = tx.execute(HISTORY, asked).one()
    if metric.kind == "quantile":
        baseline = _of_quantile(tx, row, asked)
    else:
        baseline = _of_ratio(row) if metric.kind == "ratio" else _of_mean(row)
    return History(
        days=days, units=row.units, n=row.n, baseline=baseline, units_a_day=row.units_a_day
    )


def _of_mean(row: Row[Any]) -> Baseline | None:
    return _baseline(row.mean, row.variance, _explaining(row.correlation, row.n))


def _of_ratio(row: Row[Any]) -> Baseline | None:
    """Delta method: the variance of (value - ratio × denominator) / mean denominator."""
    if not row.denominator_mean or row.variance is None:
        return None
    ratio = row.mean / row.denominator_mean
    spread = row.variance - 2 * ratio * row.covariance + ratio**2 * row.denominator_variance
    return _baseline(ratio, spread / row.denominator_mean**2)


def _of_quantile(tx: Connection, row: Row[Any], asked: dict[str, Any]) -> Baseline | None:
    """The variance of the quantile itself, from the width of its interval; no shape is assumed."""
    ranks = quantile_ranks(row.n, asked["quantile"])
    if ranks is None:
        return None
    lower, upper = tx.scalars(RANKED_VALUES, asked | {"ranks": list(ranks)})
    estimate = quantile_estimate(row.n, row.at_quantile, lower, upper)
    return _baseline(estimate.value, estimate.variance)


def _baseline(
    mean: float | None, variance: float | None, correlation: float | None = None
) -> Baseline | None:
    if not mean or not variance or variance <= 0:
        return None
    return Baseline(mean=mean, standard_deviation=sqrt(variance), correlation=correlation)


def _explaining(correlation: float | None, n: int) -> float | None:
    """The correlation, less what few units show by chance. Source: Ezekiel (1930)."""
    if correlation is None or n < _FEWEST:
        return None
    explained = 1 - (1 - correlation**2) * (n - 1) / (n - 2)
    return sqrt(min(max(explained, 0.0), 0.9999))


def _filled(name: str) -> str:
    return QUERIES[name].text.replace("{unit_values}", QUERIES["unit_values"].text)


HISTORY = text(_filled("history"))
RANKED_VALUES = text(_filled("ranked_values"))
