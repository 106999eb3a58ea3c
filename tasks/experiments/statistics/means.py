"""Welch's t test for a difference of means, from centred moments."""

from __future__ import annotations

from math import copysign, sqrt
from sys import float_info

from scipy import special

from tasks.experiments.statistics.comparison import (
    Alternative,
    Comparison,
    normal_deviate,
    relative_lift,
)
from tasks.experiments.statistics.moments import SampleMean

_EPSILON = float_info.epsilon


def welch(
    control: SampleMean,
    treatment: SampleMean,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
) -> Comparison:
    """Compare two means without assuming equal variances.

    Undefined, not significant, where an arm has fewer than two units or both have no variance
    (or none beyond what adding up constants leaves).
    Source: Welch (1947); degrees of freedom of Welch and Satterthwaite.
    """
    if control.n == 0 or treatment.n == 0:
        return Comparison()
    difference = treatment.mean - control.mean
    lift = relative_lift(control.mean, treatment.mean)
    if control.variance is None or treatment.variance is None:
        return Comparison(difference=difference, lift=lift)
    parts = control.variance / control.n, treatment.variance / treatment.n
    error = sqrt(sum(parts))
    if not error > 0 or (_is_noise(control) and _is_noise(treatment)):
        return Comparison(difference=difference, lift=lift)
    dof = _dof(parts, (control.n, treatment.n))
    t = difference / error
    p_value = _p_value(t, dof, alternative)
    half = -float(special.stdtrit(dof, alpha / 2)) * error
    return Comparison(
        difference=difference,
        standard_error=error,
        statistic=t,
        dof=dof,
        p_value=p_value,
        z=_z(t, dof),
        lower=difference - half,
        upper=difference + half,
        lift=lift,
        effect_size=hedges_g(control, treatment),
    )


def cohen_d(control: SampleMean, treatment: SampleMean) -> float | None:
    """Difference in pooled standard deviations; None without variance."""
    dof = control.n + treatment.n - 2
    if dof < 1 or min(control.n, treatment.n) < 1:
        return None
    pooled = (control.m2 + treatment.m2) / dof
    return (treatment.mean - control.mean) / sqrt(pooled) if pooled > 0 else None


def hedges_g(control: SampleMean, treatment: SampleMean) -> float | None:
    """Cohen's d without its small-sample bias. Source: Hedges (1981), d(1 - 3/(4N - 9))."""
    d = cohen_d(control, treatment)
    return None if d is None else d * (1 - 3 / (4 * (control.n + treatment.n) - 9))


def _is_noise(arm: SampleMean) -> bool:
    """Tell whether the values vary less than their sum is rounded: as constants, added up, do."""
    return sqrt(arm.variance or 0.0) <= _EPSILON * arm.n * abs(arm.mean)


def _dof(parts: tuple[float, float], sizes: tuple[int, int]) -> float:
    # Scaled by the larger part: the square of a tiny variance must not underflow to 0/0.
    scale = max(parts)
    first, second = parts[0] / scale, parts[1] / scale
    spread = first**2 / (sizes[0] - 1) + second**2 / (sizes[1] - 1)
    return (first + second) ** 2 / spread


def _p_value(t: float, dof: float, alternative: Alternative) -> float:
    if alternative == "two-sided":
        return min(1.0, 2 * float(special.stdtr(dof, -abs(t))))
    return float(special.stdtr(dof, -t if alternative == "larger" else t))


def _z(t: float, dof: float) -> float:
    z = normal_deviate(_p_value(t, dof, "two-sided"), t)
    # Beyond the smallest double both tails are certain: 37 standard errors.
    return copysign(min(abs(t), 37.5), t) if z is None else z
