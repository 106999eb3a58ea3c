"""Weighted sums of independent estimates, as estimates: an arm over strata, a level over cells."""

from __future__ import annotations

from math import inf, isfinite, nan

import numpy as np
from numpy.typing import NDArray

from tasks.experiments.statistics.estimates import Estimate, Estimates

Floats = NDArray[np.float64]


def combined_many(parts: Estimates, weights: Floats) -> Estimates:
    """Weighted sums of the same estimates, one for each row of ``weights`` (sums × parts).

    NaN where a part that has a weight is unknown. Their n is not a number of units: it is one more
    than the degrees of freedom, so that comparing them is a t test with those. Source:
    Satterthwaite (1946).
    """
    is_used = weights != 0
    with np.errstate(all="ignore"):
        terms = np.where(is_used, weights**2 * parts.variance / parts.n, 0.0)
        values = np.where(is_used, weights * parts.value, 0.0).sum(axis=1)
        variance = terms.sum(axis=1)
        squares = np.where(is_used, (terms / variance[:, None]) ** 2 / (parts.n - 1), 0.0)
        units = np.where(is_used, parts.n, 0.0).sum(axis=1)
        n = np.where(variance > 0, 1 + 1 / squares.sum(axis=1), units)
        return Estimates(n, values, variance * n)


def combined(parts: Estimates, weights: Floats) -> Estimate:
    """One weighted sum, its n rounded down; see `combined_many`."""
    found = combined_many(parts, weights[None, :])
    n, value, variance = (float(each[0]) for each in (found.n, found.value, found.variance))
    if not 0 < variance < inf or not isfinite(n):
        return Estimate(int(parts.n.sum()), value, variance if variance == 0 else nan)
    whole = max(2, int(n + 1e-9))
    return Estimate(whole, value, variance / n * whole)
