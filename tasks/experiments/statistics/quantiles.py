"""Quantiles: which order statistics to read, and what they say of the quantile's variance."""

from __future__ import annotations

from math import ceil, floor, nan, sqrt

from scipy import special

from tasks.experiments.statistics.estimates import Estimate

_Z = -float(special.ndtri(0.025))


def quantile_ranks(n: int, nu: float) -> tuple[int, int] | None:
    """Ranks (from 1) of the two values around the quantile that its 95 % interval ends at.

    The number of values below the quantile is binomial, here by its normal limit; None where n is
    too small for both ranks to exist.
    """
    half = _Z * sqrt(n * nu * (1 - nu))
    lower, upper = floor(n * nu - half), ceil(n * nu + half) + 1
    return (lower, upper) if lower >= 1 and upper <= n else None


def quantile_estimate(
    n: int, value: float, lower: float, upper: float, n_at_ranks: int | None = None
) -> Estimate:
    """The quantile of an arm, its variance from the width of its 95 % interval.

    Args:
        n: values in the arm.
        value: the quantile itself.
        lower: the value at the lower of the ``quantile_ranks``.
        upper: the value at the upper one.
        n_at_ranks: the n that the ranks were taken for, where it was not n.

    Source: Deng, Knoblich and Lu (KDD 2018), section 4: the outer confidence interval.
    """
    if n < 2:
        return Estimate(n, value if n else nan, nan)
    width = (upper - lower) / (2 * _Z)
    return Estimate(n, value, (n_at_ranks or n) / n * (n - 1) * width**2)
