"""CUPED: take out of a value what the same unit's value from before the experiment explains.

Source: Deng, Xu, Kohavi and Walker (WSDM 2013). Theta is that of all arms together, so that it is
the same on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import nan, sqrt
from operator import add

from tasks.experiments.statistics.comparison import Comparison
from tasks.experiments.statistics.estimates import Estimate, compare, with_error
from tasks.experiments.statistics.ratios import JointMoments


@dataclass(frozen=True, slots=True)
class Adjusted:
    """Both arms of one comparison, adjusted, and how much that was."""

    theta: float  # 0 where the covariate does not vary: nothing is adjusted
    control: Estimate
    treatment: Estimate
    correlation: float | None  # within the arms; the standard error shrinks by √(1 - ρ²)


def adjust(control: JointMoments, treatment: JointMoments, *, ddof: int = 1) -> Adjusted:
    """Adjust the first value of each arm by the second, the covariate from before exposure.

    ``ddof=0`` divides by n instead of n - 1, as is usual where the values are 0 and 1.
    """
    joint = control + treatment
    theta = joint.co_m2 / joint.other_m2 if joint.other_m2 > 0 else 0.0
    return Adjusted(
        theta,
        _adjusted(control, theta, joint.other_mean, ddof),
        _adjusted(treatment, theta, joint.other_mean, ddof),
        _correlation(control, treatment),
    )


def adjust_all(arms: Sequence[JointMoments], *, ddof: int = 1) -> list[Estimate]:
    """Adjust any number of arms by one theta, that of all of them together."""
    joint = reduce(add, arms)
    theta = joint.co_m2 / joint.other_m2 if joint.other_m2 > 0 else 0.0
    return [_adjusted(arm, theta, joint.other_mean, ddof) for arm in arms]


def compare_adjusted(
    control: JointMoments, treatment: JointMoments, alpha: float = 0.05, *, ddof: int = 1
) -> Comparison:
    """Compare the adjusted means by Welch's t test."""
    adjusted = adjust(control, treatment, ddof=ddof)
    return compare(adjusted.control, adjusted.treatment, alpha)


def lift_adjusted(
    control: JointMoments, treatment: JointMoments, alpha: float = 0.05, *, ddof: int = 1
) -> Comparison:
    """The adjusted difference as a share of the unadjusted control mean, by the delta method.

    The control's mean is in both: what it scatters, it scatters (treatment / control) times, less
    what the covariate explains of that. Undefined where the control's mean is 0.
    """
    adjusted = adjust(control, treatment, ddof=ddof)
    found = compare(adjusted.control, adjusted.treatment, alpha)
    base = abs(control.mean)
    if found.difference is None or found.dof is None or not base > 0:
        return Comparison()
    theta, ratio = adjusted.theta, treatment.mean / control.mean
    spread = ratio**2 * control.m2 - 2 * ratio * theta * control.co_m2
    spread += theta**2 * control.other_m2
    first = max(0.0, spread) / (control.n - ddof) / control.n
    second = adjusted.treatment.variance / treatment.n
    return with_error(found.difference / base, sqrt(first + second) / base, found.dof, alpha)


def _adjusted(arm: JointMoments, theta: float, centre: float, ddof: int) -> Estimate:
    if arm.n < 2:
        return Estimate(arm.n, nan, nan)
    spread = arm.m2 - 2 * theta * arm.co_m2 + theta**2 * arm.other_m2
    value = arm.mean - theta * (arm.other_mean - centre)
    return Estimate(arm.n, value, max(0.0, spread) / (arm.n - ddof))


def _correlation(control: JointMoments, treatment: JointMoments) -> float | None:
    value, other = control.m2 + treatment.m2, control.other_m2 + treatment.other_m2
    if not (value > 0 and other > 0):
        return None
    return (control.co_m2 + treatment.co_m2) / sqrt(value * other)
