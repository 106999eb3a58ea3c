"""Metric kinds: how two arms of a metric are compared. Open by registry.

A kind is a function from the sufficient statistics of control and treatment to a Comparison, and
what else differs from a mean:

    metrics.register("log_ratio")(MetricKind(compare_logs))

Other packages register theirs by the entry point group ``headway.metrics``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from math import isnan, sqrt
from typing import ParamSpec, TypeVar

import numpy as np
from scipy import special

from tasks.experiments.statistics import cuped, lift, ratios
from tasks.experiments.statistics.comparison import Comparison
from tasks.experiments.statistics.estimates import Estimate, compare, of_mean
from tasks.experiments.statistics.lift import Lift
from tasks.experiments.statistics.means import hedges_g, welch
from tasks.experiments.statistics.moments import (
    Proportion,
    SampleMean,
    as_proportion,
    mean_interval,
)
from tasks.experiments.statistics.proportions import compare_proportions
from tasks.experiments.statistics.rates import wilson_interval
from tasks.experiments.statistics.ratios import JointMoments
from tasks.registry import Registry

Interval = tuple[float | None, float | None]
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class ArmMoments:
    """What is known of one arm: moments of the value, and beside it of a second one.

    For a quantile ``mean`` is the quantile, and ``m2`` its variance per unit times n - 1.
    """

    value: SampleMean
    denominator: JointMoments | None = None  # ratios: value and denominator
    covariate: JointMoments | None = None  # CUPED: value and what was there before


def compare_means(control: ArmMoments, treatment: ArmMoments, alpha: float) -> Comparison:
    """Compare the mean value per unit by Welch's t test, CUPED-adjusted with a covariate.

    The effect size is that of the values themselves: adjusting them changes their spread.
    """
    if control.covariate is None or treatment.covariate is None:
        return welch(control.value, treatment.value, alpha)
    found = cuped.compare_adjusted(control.covariate, treatment.covariate, alpha)
    return replace(found, effect_size=hedges_g(control.value, treatment.value))


def compare_rates(control: ArmMoments, treatment: ArmMoments, alpha: float) -> Comparison:
    """Compare the share of units that did it: pooled z (Fisher where few did), Newcombe's interval.

    With a covariate by CUPED, except where a rate is too small for its normal limit.
    """
    arms = _rate(control), _rate(treatment)
    if control.covariate is None or treatment.covariate is None or _is_small(*arms):
        return compare_proportions(*arms, alpha)
    found = cuped.compare_adjusted(control.covariate, treatment.covariate, alpha, ddof=0)
    rates = compare_proportions(*arms, alpha)
    return replace(found, effect_size=rates.effect_size)


def compare_ratios(control: ArmMoments, treatment: ArmMoments, alpha: float) -> Comparison:
    """Compare the ratio of two sums over units by the delta method."""
    return compare(_ratio(control), _ratio(treatment), alpha)


def compare_quantiles(control: ArmMoments, treatment: ArmMoments, alpha: float) -> Comparison:
    """Compare a quantile; its variance comes from the order statistics around it."""
    return compare(of_mean(control.value), of_mean(treatment.value), alpha)


def lift_of_means(control: ArmMoments, treatment: ArmMoments, alpha: float) -> Lift:
    """Relative lift of the mean: Fieller's interval, with a covariate that of CUPED."""
    if control.covariate is None or treatment.covariate is None:
        return lift.lift_of_means(control.value, treatment.value, alpha)
    return _adjusted_lift(control.covariate, treatment.covariate, alpha, ddof=1)


def lift_of_rates(control: ArmMoments, treatment: ArmMoments, alpha: float) -> Lift:
    """Relative lift of the rate: Fieller's interval, at small counts the score interval."""
    arms = _rate(control), _rate(treatment)
    if control.covariate is None or treatment.covariate is None or _is_small(*arms):
        return lift.lift_of_proportions(*arms, alpha)
    return _adjusted_lift(control.covariate, treatment.covariate, alpha, ddof=0)


def lift_of_ratios(control: ArmMoments, treatment: ArmMoments, alpha: float) -> Lift:
    """Relative lift of the ratio: Fieller's interval."""
    return _fieller(_ratio(control), _ratio(treatment), alpha)


def lift_of_quantiles(control: ArmMoments, treatment: ArmMoments, alpha: float) -> Lift:
    """Relative lift of the quantile: Fieller's interval."""
    return _fieller(of_mean(control.value), of_mean(treatment.value), alpha)


def _fieller(control: Estimate, treatment: Estimate, alpha: float) -> Lift:
    return lift.fieller_lift(control, treatment, alpha, compare(control, treatment, alpha).dof)


def _adjusted_lift(
    control: JointMoments, treatment: JointMoments, alpha: float, *, ddof: int
) -> Lift:
    found = cuped.lift_adjusted(control, treatment, alpha, ddof=ddof)
    return Lift(found.difference, found.lower, found.upper, "none")


def _rate(arm: ArmMoments) -> Proportion:
    return as_proportion(arm.value)


def _is_small(*arms: Proportion) -> bool:
    return min(min(a.successes, a.n - a.successes) for a in arms) < lift.LEAST_FOR_FIELLER


def _ratio(arm: ArmMoments) -> Estimate:
    empty = JointMoments(0, 0.0, 0.0, 0.0, 0.0, 0.0)
    return ratios.ratio_of_means(arm.denominator or empty)


def mean_value(arm: ArmMoments) -> float | None:
    """The mean per unit; None without units."""
    return arm.value.mean if arm.value.n else None


def _ratio_value(arm: ArmMoments) -> float | None:
    found = _ratio(arm).value
    return None if isnan(found) else found


def mean_value_interval(arm: ArmMoments, alpha: float) -> Interval:
    """Student's interval of the mean per unit."""
    return mean_interval(arm.value, alpha) or (None, None)


def _rate_interval(arm: ArmMoments, alpha: float) -> Interval:
    return wilson_interval(_rate(arm), alpha)


def _ratio_interval(arm: ArmMoments, alpha: float) -> Interval:
    found = _ratio(arm)
    if isnan(found.variance):
        return None, None
    half = float(special.stdtrit(found.n - 1, 1 - alpha / 2)) * sqrt(found.variance / found.n)
    return found.value - half, found.value + half


Compare = Callable[[ArmMoments, ArmMoments, float], Comparison]
LiftOf = Callable[[ArmMoments, ArmMoments, float], Lift]


@dataclass(frozen=True, slots=True)
class MetricKind:
    """How a kind of metric is compared; intervals are two-sided, of level 1 - alpha.

    The difference is in the units of ``value``: margins of guardrails are relative to that.
    """

    compare: Compare
    lift: LiftOf = lift_of_means
    value: Callable[[ArmMoments], float | None] = mean_value  # of one arm
    interval: Callable[[ArmMoments, float], Interval] = mean_value_interval
    is_rate: bool = False  # each unit's value is 0 or 1


metrics: Registry[MetricKind] = Registry("metric kind", "headway.metrics")


def _or_undefined(kind: MetricKind) -> MetricKind:
    """Figures so large or small that doubles cannot hold what follows from them are undefined."""
    return MetricKind(
        compare=_guarded(kind.compare, Comparison()),
        lift=_guarded(kind.lift, lift.UNKNOWN),
        value=_guarded(kind.value, None),
        interval=_guarded(kind.interval, (None, None)),
        is_rate=kind.is_rate,
    )


def _guarded(function: Callable[P, R], undefined: R) -> Callable[P, R]:
    @wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with np.errstate(all="ignore"):
                return function(*args, **kwargs)
        except (ArithmeticError, ValueError):
            return undefined

    return guarded


_MEAN = MetricKind(compare_means)
_RATE = MetricKind(compare_rates, lift_of_rates, interval=_rate_interval, is_rate=True)
_RATIO = MetricKind(compare_ratios, lift_of_ratios, _ratio_value, _ratio_interval)
_QUANTILE = MetricKind(compare_quantiles, lift_of_quantiles)
for _name, _kind in {
    "mean": _MEAN,
    "count": _MEAN,
    "sum": _MEAN,
    "proportion": _RATE,
    "retention": _RATE,
    "ratio": _RATIO,
    "quantile": _QUANTILE,
}.items():
    metrics.register(_name)(_or_undefined(_kind))
