"""Evidence that may be looked at as often as one likes: e-values and confidence sequences.

An e-value is what a bet against a hypothesis has made of 1: under the hypothesis it ever reaches
1/alpha with a chance of at most alpha, whenever and however often one looks (Ville). All come as
natural logarithms, from sums alone, and stand sums from 0 to 1e9.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import asin, exp, inf, lgamma, log, log1p, pi, sqrt
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

_TINY = 1e-300
_PRECISION = 1e-13


class Split(NamedTuple):
    """Bad ones and all of them, of the version and of its control, at one share of the traffic."""

    canary_bad: float
    canary_count: float
    control_bad: float
    control_count: float


def log_e_above(bad: float, count: float, rate: float) -> float:
    """Evidence that more than ``rate`` are bad, of ``bad`` ones among ``count``.

    The mixture likelihood of Beta(1/2, 1/2) cut to (rate, 1), against the hypothesis that at most
    ``rate`` are: a beta-binomial e-process (Robbins 1970; Ramdas and others 2023, section 5).
    Infinite where a bad one shows that ``rate`` 0 is not so; 0 where the rate can be no higher.
    """
    if rate >= 1 or count <= 0:
        return 0.0
    if rate <= 0:
        return inf if bad > 0 else _log_beta(0.5, count + 0.5) - log(pi)
    good = count - bad
    cut_prior = log(2 * asin(sqrt(1 - rate)))
    likelihood = bad * log(rate) + good * log1p(-rate)
    return _log_beta_above(rate, bad + 0.5, good + 0.5) - cut_prior - likelihood


def log_e_below(bad: float, count: float, rate: float) -> float:
    """Evidence that less than ``rate`` are bad: the mirror image of ``log_e_above``."""
    return log_e_above(count - bad, count, 1 - rate)


def log_e_worse(looks: Sequence[Split]) -> float:
    """Evidence that the version has a higher rate of bad ones than its control.

    Given that something bad happened, the chance that it was the version's is its share of the
    traffic where it is no worse, and theta·share / (theta·share + 1 - share) where it is theta
    times as bad. Each look has its own share; within one that did not change, one look of the sums
    tells as much. ln theta is half-normal with scale ln 2. Source of the idea: Lindon and Malek
    (2022), inference for counting processes by their conditional splits.
    """
    import numpy as np  # here, so that who only reads a rollout does not wait for it

    log_theta, excess, log_weight = _prior()
    log_e = log_weight + sum(look.canary_bad for look in looks) * log_theta
    for look in looks:
        both = look.canary_count + look.control_count
        if both > 0:
            bad = look.canary_bad + look.control_bad
            log_e -= bad * np.log1p(look.canary_count / both * excess)
    most = log_e.max()
    return float(most + np.log(np.exp(log_e - most).sum()))


def mean_margin(count: float, alpha: float, rho: float) -> float:
    """How many standard errors to either side the mean may be, at all looks at once.

    The normal mixture with weight ``rho`` (Robbins 1970; Howard and others 2021, eq. 14), by the
    standard error of the sample (asymptotically valid: Waudby-Smith and others 2024). It is
    narrowest at some 15·rho values.
    """
    return sqrt((count + rho) / count * (log1p(count / rho) - 2 * log(alpha)))


@cache
def _prior() -> tuple[Floats, Floats, Floats]:
    """Of each theta of the grid its logarithm, theta - 1, and the logarithm of its weight."""
    import numpy as np

    log_theta = np.arange(1, 101) / 50
    weight = np.exp(-((log_theta / log(2)) ** 2) / 2)
    return log_theta, np.expm1(log_theta), np.log(weight / weight.sum())


def _log_beta_above(x: float, a: float, b: float) -> float:
    """ln of the integral of p^(a-1) (1-p)^(b-1) from x to 1."""
    if x > (a + 1) / (a + b + 2):
        return _log_tail(1 - x, b, a)
    whole = _log_beta(a, b)
    return whole + log1p(-exp(min(_log_tail(x, a, b) - whole, -_PRECISION)))


def _log_tail(x: float, a: float, b: float) -> float:
    """ln of the integral from 0 to an x below the mean, by its continued fraction.

    Source: DLMF 8.17.22, by Lentz's method: it converges in some sqrt(max(a, b)) steps.
    """
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or _TINY)
    fraction = d
    step, change = 1, inf
    while abs(change - 1) > _PRECISION:
        top = a + 2 * step
        even = step * (b - step) * x / ((top - 1) * top)
        odd = -(a + step) * (a + b + step) * x / (top * (top + 1))
        d = 1 / (1 + even * d or _TINY)
        c = 1 + even / c or _TINY
        fraction *= c * d
        d = 1 / (1 + odd * d or _TINY)
        c = 1 + odd / c or _TINY
        change = c * d
        fraction *= change
        step += 1
    return a * log(x) + b * log1p(-x) - log(a) + log(fraction)


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
