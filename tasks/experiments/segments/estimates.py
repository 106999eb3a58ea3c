"""One level of a dimension: each arm's value and the variance of it, by the kind of metric."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import add

from tasks.experiments.metrics import ArmMoments, metrics
from tasks.experiments.statistics.cuped import adjust
from tasks.experiments.statistics.estimates import Estimate, of_mean
from tasks.experiments.statistics.heterogeneity import LEAST_UNITS
from tasks.experiments.statistics.moments import as_proportion
from tasks.experiments.statistics.ratios import JointMoments, ratio_of_means

LEAST_CONVERSIONS = 5
"""Units that did it, and that did not, in an arm of a level: with fewer the normal limit is far."""

_MEANS = {"mean", "count", "sum"}
_NOBODY = JointMoments(0, 0.0, 0.0, 0.0, 0.0, 0.0)


def why_not(kind: str) -> str:
    """Why a metric of this kind cannot be compared by segment; empty where it can.

    Raises UnknownName for a kind that nobody registered.
    """
    if metrics.get(kind).is_rate or kind in _MEANS or kind == "ratio":
        return ""
    if kind == "quantile":
        return "a quantile of a segment does not follow from the sums that are kept of it"
    return f"how a {kind} varies within a segment is known to its own package only"


def estimates(kind: str, arms: Mapping[str, ArmMoments]) -> dict[str, Estimate]:
    """The arms of one level; adjusted by the covariate where each of them has one.

    Theta of CUPED is that of the level's units in all arms. Rates are means of 0 and 1 here, with
    the variance that has n - 1: many small levels add up what n would leave out. ``kind`` is one
    that `why_not` allows.
    """
    if kind == "ratio":
        return {name: ratio_of_means(arm.denominator or _NOBODY) for name, arm in arms.items()}
    covariates = {name: arm.covariate for name, arm in arms.items() if arm.covariate is not None}
    if len(covariates) == len(arms):
        return _adjusted(covariates)
    return {name: of_mean(arm.value) for name, arm in arms.items()}


def why_too_small(kind: str, arm: ArmMoments) -> str:
    """Why the effect on so few units is left open; empty where there are enough."""
    if arm.value.n < LEAST_UNITS:
        return f"fewer than {LEAST_UNITS} units in an arm"
    if metrics.get(kind).is_rate:
        rate = as_proportion(arm.value)
        if min(rate.successes, rate.n - rate.successes) < LEAST_CONVERSIONS:
            return f"fewer than {LEAST_CONVERSIONS} units of an arm did it, or did not"
    return ""


def _adjusted(arms: Mapping[str, JointMoments]) -> dict[str, Estimate]:
    def others(name: str) -> JointMoments:
        return reduce(add, (arm for each, arm in arms.items() if each != name), _NOBODY)

    return {name: adjust(arm, others(name)).control for name, arm in arms.items()}
