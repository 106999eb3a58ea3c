"""Exact figures of a share that is looked at once."""

from __future__ import annotations

from functools import cache
from math import ceil

_STEP = 20


def p_value_above(bad: int, count: int, rate: float) -> float:
    """The chance of so many bad ones or more, where each is bad with chance ``rate``."""
    from scipy import special  # here, so that who only reads a rollout does not wait for it

    return float(special.betainc(bad, count - bad + 1, rate)) if 0 < bad <= count else 1.0


def exact_interval(bad: int, count: int, alpha: float = 0.05) -> tuple[float, float]:
    """The interval that holds the rate in at least 1 - alpha of samples; (0, 1) without any.

    Source: Clopper and Pearson (1934).
    """
    from scipy import special

    good = count - bad
    lower = float(special.betaincinv(bad, good + 1, alpha / 2)) if bad else 0.0
    upper = float(special.betainccinv(bad + 1, good, alpha / 2)) if good else 1.0
    return lower, upper


@cache
def least_count(rate: float, limit: float, chance: float, most: int = 100_000) -> int | None:
    """From how many requests on a look alarms with at most that chance though all is well.

    All is well at a true ``rate`` below the ``limit``; a bare threshold alarms at or above it.
    Counted in steps of 20; None if ``most`` are not enough.
    """
    for count in range(_STEP, most + 1, _STEP):
        if p_value_above(ceil(limit * count - 1e-9), count, rate) <= chance:
            return count
    return None
