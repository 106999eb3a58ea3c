"""What of a plan must fit together; each check raises ValueError and says what does not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tasks.experiments.definition.measures import MetricPlan
from tasks.experiments.definition.sample import Baseline

RESERVED_DIMENSIONS = frozenset({"epoch"})
_DAYS_A_WEEK = 7


def check_roles(metrics: Sequence[str], tie_break_metric: str | None) -> None:
    """Each metric has one role, and one of them breaks ties."""
    twice = sorted({name for name in metrics if metrics.count(name) > 1})
    if twice:
        raise ValueError(f"the metric {twice[0]!r} is there twice; each has one role")
    if tie_break_metric is not None and tie_break_metric not in metrics:
        raise ValueError(
            f"tie_break_metric {tie_break_metric!r} is none of the metrics: {', '.join(metrics)}"
        )


def check_error(method: str, alpha: float, reserved_alpha: float) -> None:
    """The reserve is a part of the error, and the method knows how to keep it."""
    if reserved_alpha and method != "group_sequential":
        raise ValueError("reserved_alpha is for the method group_sequential")
    if reserved_alpha >= alpha:
        raise ValueError("reserved_alpha is a part of alpha; it must be less")


def check_times(starts_at: datetime | None, ends_at: datetime | None, minimum_weeks: int) -> None:
    """It ends after it starts, and not before a winner is possible."""
    if starts_at is None or ends_at is None:
        return
    if ends_at <= starts_at:
        raise ValueError("ends_at must be after starts_at")
    days = (ends_at - starts_at).total_seconds() / 86_400
    if days < minimum_weeks * _DAYS_A_WEEK:
        raise ValueError(
            f"it would end after {days:.3g} days, before its {minimum_weeks} "
            "minimum_weeks are over: no winner would be possible"
        )


def check_correlation(metric: MetricPlan, baseline: Baseline | None) -> None:
    """A correlation with the covariate needs one."""
    if baseline is None or baseline.correlation is None:
        return
    if metric.covariate_days is None and metric.covariate_attribute is None:
        raise ValueError(
            "baseline.correlation is with the metric's covariate, and it has none: say "
            "covariate_days or covariate_attribute, or leave the correlation out"
        )


def check_dimensions(dimensions: Sequence[str]) -> None:
    """Each is named once, and none that is kept anyway."""
    if len(set(dimensions)) != len(dimensions):
        raise ValueError("a dimension is named twice")
    reserved = sorted(RESERVED_DIMENSIONS & {*dimensions})
    if reserved:
        raise ValueError(f"the dimension {reserved[0]!r} is kept anyway; leave it out")
