"""Two proportions: pooled z and chi-square, Newcombe's interval, Cohen's h."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import asin, sqrt

from scipy import special

from tasks.experiments.statistics.comparison import (
    Alternative,
    Comparison,
    normal_p_value,
    relative_lift,
)
from tasks.experiments.statistics.moments import Proportion


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
    """Compare two rates with the pooled z test; its square is the chi-square statistic.

    The interval of the difference is Newcombe's hybrid score. Undefined, not significant, where
    an arm is empty or nobody (or everybody) converted in both.
    """
    if control.rate is None or treatment.rate is None:
        return Comparison()
    difference = treatment.rate - control.rate
    lower, upper = newcombe_interval(control, treatment, alpha)
    known = Comparison(
        difference=difference,
        lower=lower,
        upper=upper,
        lift=relative_lift(control.rate, treatment.rate),
        effect_size=cohen_h(control.rate, treatment.rate),
    )
    pooled = (control.successes + treatment.successes) / (control.n + treatment.n)
    error = sqrt(pooled * (1 - pooled) * (1 / control.n + 1 / treatment.n))
    if not error > 0:
        return known
    z = difference / error
    return Comparison(
        difference=difference,
        standard_error=error,
        statistic=z,
        p_value=normal_p_value(z, alternative),
        z=z,
        lower=lower,
        upper=upper,
        lift=known.lift,
        effect_size=known.effect_size,
    )


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


def wilson_interval(sample: Proportion, alpha: float = 0.05) -> tuple[float, float]:
    """Score interval of one rate; (0, 1) without units. Source: Wilson (1927)."""
    if sample.n == 0:
        return 0.0, 1.0
    z = -float(special.ndtri(alpha / 2))
    rate = sample.successes / sample.n
    weight = z * z / sample.n
    centre = (rate + weight / 2) / (1 + weight)
    half = z * sqrt(rate * (1 - rate) / sample.n + weight / (4 * sample.n)) / (1 + weight)
    lower = 0.0 if sample.successes == 0 else max(0.0, centre - half)
    upper = 1.0 if sample.successes == sample.n else min(1.0, centre + half)
    return lower, upper


def newcombe_interval(
    control: Proportion, treatment: Proportion, alpha: float = 0.05
) -> tuple[float, float]:
    """Hybrid score interval of treatment minus control. Source: Newcombe (1998), method 10."""
    low_c, high_c = wilson_interval(control, alpha)
    low_t, high_t = wilson_interval(treatment, alpha)
    rate_c, rate_t = control.rate or 0.0, treatment.rate or 0.0
    difference = rate_t - rate_c
    lower = difference - sqrt((rate_t - low_t) ** 2 + (high_c - rate_c) ** 2)
    upper = difference + sqrt((high_t - rate_t) ** 2 + (rate_c - low_c) ** 2)
    return lower, upper


def cohen_h(control_rate: float, treatment_rate: float) -> float:
    """Effect size of two rates: difference of their arcsine transforms. Source: Cohen (1988)."""
    return 2 * asin(sqrt(treatment_rate)) - 2 * asin(sqrt(control_rate))
