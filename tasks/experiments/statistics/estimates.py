"""Comparing estimates of any kind: each arm is a value and the variance one unit gives it.

A mean, a rate, a ratio and a quantile differ only in how that variance comes about; the test is the
same. The arrays are the core: thousands of comparisons in one call, or a single one as one row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from math import isnan, nan, sqrt
from sys import float_info

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tasks.experiments.statistics.comparison import Alternative, Comparison
from tasks.experiments.statistics.moments import Proportion, SampleMean

Floats = NDArray[np.float64]

_FURTHEST = 37.5  # standard errors; beyond it a two-sided p-value is below the smallest double


@dataclass(frozen=True, slots=True)
class Estimate:
    """One arm: its value and n times the squared standard error of it; NaN where unknown."""

    n: int
    value: float
    variance: float


@dataclass(frozen=True, slots=True)
class Estimates:
    """Many arms, one row each."""

    n: Floats
    value: Floats
    variance: Floats


@dataclass(frozen=True, slots=True)
class Comparisons:
    """Many comparisons, one row each, as in `Comparison`; NaN stands for undefined."""

    difference: Floats
    standard_error: Floats
    statistic: Floats
    dof: Floats
    p_value: Floats
    z: Floats
    lower: Floats
    upper: Floats
    lift: Floats

    def row(self, index: int) -> Comparison:
        """One of them, with None for undefined."""
        found = {field.name: float(getattr(self, field.name)[index]) for field in fields(self)}
        return Comparison(**{name: None if isnan(x) else x for name, x in found.items()})


def of_mean(moments: SampleMean) -> Estimate:
    """The mean per unit. Constants that were added up vary by their rounding: that is none."""
    if moments.n == 0 or moments.variance is None:
        return Estimate(moments.n, moments.mean if moments.n else nan, nan)
    is_noise = sqrt(moments.variance) <= float_info.epsilon * moments.n * abs(moments.mean)
    return Estimate(moments.n, moments.mean, 0.0 if is_noise else moments.variance)


def of_proportion(sample: Proportion) -> Estimate:
    """The share of units that converted, with the binomial variance p(1 - p)."""
    rate = sample.rate
    return (
        Estimate(sample.n, nan, nan)
        if rate is None
        else Estimate(sample.n, rate, rate * (1 - rate))
    )


def as_rows(estimates: Iterable[Estimate]) -> Estimates:
    """Put arms into arrays."""
    held = [(float(e.n), e.value, e.variance) for e in estimates]
    n, value, variance = np.array(held, dtype=float).reshape(-1, 3).T
    return Estimates(n, value, variance)


def compare(
    control: Estimate,
    treatment: Estimate,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
    *,
    is_relative: bool = False,
) -> Comparison:
    """Compare two arms; see `compare_many`."""
    rows = as_rows([control]), as_rows([treatment])
    return compare_many(*rows, alpha, alternative, is_relative=is_relative).row(0)


def compare_many(
    control: Estimates,
    treatment: Estimates,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
    *,
    is_relative: bool = False,
) -> Comparisons:
    """Compare arms row by row with Welch's t test, assuming no equal variances.

    Undefined where an arm has fewer than two units, or neither has variance. With ``is_relative``
    difference, error and interval are those of the lift, by the delta method.
    Sources: Welch (1947), Satterthwaite (1946); for the lift Deng, Knoblich and Lu (KDD 2018).
    """
    with np.errstate(all="ignore"):
        difference = treatment.value - control.value
        scale = np.abs(control.value)
        lift = np.where(scale > 0, difference / scale, np.nan)
        lift = np.where(np.isfinite(lift), lift, np.nan)
        first, second = control.variance / control.n, treatment.variance / treatment.n
        error = np.sqrt(first + second)
        dof = _dof(first, second, control.n, treatment.n)
        if is_relative:
            ratio = treatment.value / control.value
            difference, error = lift, np.sqrt(second + first * ratio**2) / scale
        return _tested(difference, error, dof, alpha, alternative, lift)


def _dof(first: Floats, second: Floats, n_first: Floats, n_second: Floats) -> Floats:
    # Scaled by the larger part: the square of a tiny variance must not underflow to 0/0.
    scale = np.maximum(first, second)
    a, b = first / scale, second / scale
    # An arm of one unit has no variance of its own, so its term is NaN, as its variance is.
    return np.asarray((a + b) ** 2 / (a**2 / (n_first - 1) + b**2 / (n_second - 1)))


def _p_values(statistic: Floats, dof: Floats, alternative: Alternative) -> Floats:
    if alternative == "two-sided":
        return np.asarray(np.minimum(1.0, 2 * special.stdtr(dof, -np.abs(statistic))))
    return np.asarray(special.stdtr(dof, -statistic if alternative == "larger" else statistic))


def _deviates(statistic: Floats, p_value: Floats) -> Floats:
    """Normal deviates of the same two-sided p-values, with the signs of the statistics."""
    size = np.where(p_value >= 1, 0.0, -special.ndtri_exp(np.log(p_value) - np.log(2)))
    size = np.where(np.isfinite(size), size, np.minimum(np.abs(statistic), _FURTHEST))
    return np.asarray(np.copysign(size, statistic))


def with_error(effect: float, error: float, dof: float, alpha: float = 0.05) -> Comparison:
    """The t test of an effect whose standard error was found elsewhere."""
    row = np.array([effect]), np.array([error]), np.array([dof])
    return _tested(*row, alpha, "two-sided", lift=np.array([np.nan])).row(0)


def _tested(
    difference: Floats,
    error: Floats,
    dof: Floats,
    alpha: float,
    alternative: Alternative,
    lift: Floats,
) -> Comparisons:
    with np.errstate(all="ignore"):
        error = np.where((error > 0) & (dof > 0), error, np.nan)
        statistic = difference / error
        half = -special.stdtrit(dof, alpha / 2) * error
        return Comparisons(
            difference=difference,
            standard_error=error,
            statistic=statistic,
            dof=np.where(np.isnan(statistic), np.nan, dof),
            p_value=_p_values(statistic, dof, alternative),
            z=_deviates(statistic, _p_values(statistic, dof, "two-sided")),
            lower=difference - half,
            upper=difference + half,
            lift=lift,
        )
