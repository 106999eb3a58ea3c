"""Two proportions: pooled z, exact at small counts, chi-square, and Newcombe's interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import asin, copysign, sqrt

import numpy as np
from scipy import special

from tasks.experiments.statistics.comparison import (
    Alternative,
    Comparison,
    normal_deviate,
    normal_p_value,
    relative_lift,
)
from tasks.experiments.statistics.moments import Proportion
from tasks.experiments.statistics.rates import (
    FEW_UNITS,
    Interval,
    clopper_pearson_interval,
    wilson_interval,
)

LEAST_EXPECTED = 5.0
"""Below this expected count in a cell the pooled z is not normal enough; the usual choice."""

_SAME = 1e-9  # tables so close in probability are equally likely
_FURTHEST = 37.5  # standard errors; beyond it a two-sided p-value is below the smallest double


@dataclass(frozen=True, slots=True)
class ChiSquare:
    """A chi-square statistic with its degrees of freedom; None where undefined."""

    statistic: float | None
    dof: int
    p_value: float | None


def compare_proportions(
    control: Proportion,
    treatment: Proportion,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
) -> Comparison:
    """Compare two rates: pooled z, or Fisher's exact test where a cell expects fewer than 5.

    The interval of the difference is Newcombe's hybrid score. Undefined, not significant, where
    an arm is empty or nobody (or everybody) converted in both.
    """
    if control.rate is None or treatment.rate is None:
        return Comparison()
    difference = treatment.rate - control.rate
    lower, upper = difference_interval(control, treatment, alpha)
    error = pooled_error(control, treatment)
    statistic = pooled_z(control, treatment)
    p_value, z = None, statistic
    if statistic is not None and _least_expected(control, treatment) < LEAST_EXPECTED:
        p_value = fisher_exact(control, treatment, alternative)
        z = normal_deviate(fisher_exact(control, treatment), difference)
        z = copysign(_FURTHEST, difference) if z is None else z
    elif statistic is not None:
        p_value = normal_p_value(statistic, alternative)
    return Comparison(
        difference=difference,
        standard_error=error or None,
        statistic=statistic,
        p_value=p_value,
        z=z,
        lower=lower,
        upper=upper,
        lift=relative_lift(control.rate, treatment.rate),
        effect_size=cohen_h(control.rate, treatment.rate),
    )


def pooled_error(control: Proportion, treatment: Proportion) -> float:
    """Standard error of the difference if both arms had one rate; 0 where it is undefined."""
    if control.n == 0 or treatment.n == 0:
        return 0.0
    pooled = (control.successes + treatment.successes) / (control.n + treatment.n)
    return sqrt(pooled * (1 - pooled) * (1 / control.n + 1 / treatment.n))


def pooled_z(control: Proportion, treatment: Proportion) -> float | None:
    """Difference in pooled standard errors: its square is the chi-square; None if undefined."""
    error = pooled_error(control, treatment)
    if control.rate is None or treatment.rate is None or not error > 0:
        return None
    return (treatment.rate - control.rate) / error


def fisher_exact(
    control: Proportion, treatment: Proportion, alternative: Alternative = "two-sided"
) -> float:
    """P-value of Fisher's exact test: all tables with these margins that are no more likely.

    From table to table by the ratio of their probabilities: as many steps as the smallest margin of
    the table, however large the other ones.
    """
    successes = control.successes + treatment.successes
    least = max(0, successes - control.n)
    counts = np.arange(least, min(successes, treatment.n) + 1, dtype=float)
    before = counts[:-1]
    ratio = np.log(successes - before) + np.log(treatment.n - before)
    ratio -= np.log(before + 1) + np.log(control.n - successes + before + 1)
    weight = np.concatenate(([0.0], np.cumsum(ratio)))
    chance = np.exp(weight - special.logsumexp(weight))
    seen = treatment.successes - least
    if alternative == "larger":
        return min(1.0, float(chance[seen:].sum()))
    if alternative == "smaller":
        return min(1.0, float(chance[: seen + 1].sum()))
    return min(1.0, float(chance[chance <= chance[seen] * (1 + _SAME)].sum()))


def chi_square(arms: Sequence[Proportion], *, continuity: bool = False) -> ChiSquare:
    """Pearson's chi-square on arms × (converted, not); Yates' correction on request."""
    n = sum(arm.n for arm in arms)
    successes = sum(arm.successes for arm in arms)
    dof = len(arms) - 1
    if dof < 1 or successes in {0, n} or any(arm.n == 0 for arm in arms):
        return ChiSquare(None, dof, None)
    rate = successes / n
    # |observed - expected| is the same for both cells of an arm.
    gaps = (abs(arm.successes - arm.n * rate) for arm in arms)
    shift = 0.5 if continuity and dof == 1 else 0.0
    statistic = sum(
        (gap - min(shift, gap)) ** 2 / (arm.n * rate * (1 - rate))
        for gap, arm in zip(gaps, arms, strict=True)
    )
    return ChiSquare(statistic, dof, float(special.chdtrc(dof, statistic)))


def difference_interval(
    control: Proportion, treatment: Proportion, alpha: float = 0.05
) -> Interval:
    """The interval of treatment minus control that is shown: Newcombe's.

    With fewer than 50 units in an arm it is put together from exact limits instead, because that of
    scores then covers 93 % here and there.
    """
    if min(control.n, treatment.n) < FEW_UNITS:
        return newcombe_interval(control, treatment, alpha, limits=clopper_pearson_interval)
    return newcombe_interval(control, treatment, alpha)


def newcombe_interval(
    control: Proportion,
    treatment: Proportion,
    alpha: float = 0.05,
    *,
    limits: Callable[[Proportion, float], Interval] = wilson_interval,
) -> Interval:
    """Hybrid score interval of treatment minus control. Source: Newcombe (1998), method 10."""
    low_c, high_c = limits(control, alpha)
    low_t, high_t = limits(treatment, alpha)
    rate_c, rate_t = control.rate or 0.0, treatment.rate or 0.0
    difference = rate_t - rate_c
    lower = difference - sqrt((rate_t - low_t) ** 2 + (high_c - rate_c) ** 2)
    upper = difference + sqrt((high_t - rate_t) ** 2 + (rate_c - low_c) ** 2)
    return lower, upper


def wald_interval(
    control: Proportion, treatment: Proportion, alpha: float = 0.05, added: int = 0
) -> tuple[float, float] | None:
    """Unpooled normal interval of the difference; None where an arm is empty.

    With ``added=1``, a success and a failure more in each arm, it is that of Agresti and Caffo
    (2000): its centre moves too.
    """
    arms = [Proportion(a.n + 2 * added, a.successes + added) for a in (control, treatment)]
    if any(arm.n == 0 for arm in arms):
        return None
    first, second = (arm.successes / arm.n for arm in arms)
    variance = first * (1 - first) / arms[0].n + second * (1 - second) / arms[1].n
    half = -float(special.ndtri(alpha / 2)) * sqrt(variance)
    return second - first - half, second - first + half


def cohen_h(control_rate: float, treatment_rate: float) -> float:
    """Effect size of two rates: difference of their arcsine transforms. Source: Cohen (1988)."""
    return 2 * asin(sqrt(treatment_rate)) - 2 * asin(sqrt(control_rate))


def _least_expected(control: Proportion, treatment: Proportion) -> float:
    successes = control.successes + treatment.successes
    n = control.n + treatment.n
    return min(successes, n - successes) * min(control.n, treatment.n) / n
