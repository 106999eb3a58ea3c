"""The winner's curse: an experiment that stops at a bound stops on one of its lucky days.

Among the winners at the planned effect the raw one is 13 % too large with a single look and 39 %
with hourly ones; the earlier the stop, the more. The corrected effect is what it would be if some
share of the planned sample had been seen beforehand to make no difference. That share is worked out
so that winners at the planned effect are right on average under the real schedule; it is close to a
sixth whatever the schedule. Effects larger than planned come out too small.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import optimize

from tasks.experiments.statistics.drifts import Exits, drift_for, exits

_MOST_SHARE = 5.0
_MOST_LOOKS = 50  # that are still expected; more change the share by less than 0.001


def correction_factor(
    fractions: Sequence[float], alpha: float, rho: float = 2.0, power: float = 0.8
) -> float | None:
    """By what the raw difference or lift of a winner is to be multiplied, 0 to 1.

    Args:
        fractions: information at each look so far; a bound was crossed at the last one.
        alpha: the level at which it was crossed (after Holm, if so).
        rho: power of the spending function.
        power: the chance to win at the planned effect.

    Returns:
        The factor, or None without a look that could decide.
    """
    share = unbiased_share(fractions, alpha, rho, power)
    return None if share is None else fractions[-1] / (fractions[-1] + share)


def unbiased_share(
    fractions: Sequence[float], alpha: float, rho: float = 2.0, power: float = 0.8
) -> float | None:
    """The share of the plan, taken as seen without effect, that makes winners right on average."""
    found = exits(_to_the_end(fractions), alpha, rho)
    if not len(found.fractions):
        return None
    drift = drift_for(found, power)

    def excess(share: float) -> float:
        return _mean_of_winners(found, drift, share) - drift

    if excess(0.0) <= 0:
        return 0.0
    return float(optimize.brentq(excess, 0.0, _MOST_SHARE, xtol=1e-6))


def _mean_of_winners(found: Exits, drift: float, share: float) -> float:
    """Expected shrunken drift where the upper bound is crossed."""
    sums = found.upward_sums(drift) / (found.fractions + share)
    return float(sums.sum() / found.upward(drift).sum())


def _to_the_end(fractions: Sequence[float]) -> tuple[float, ...]:
    """The looks so far, and as many more up to the planned end as this pace would bring."""
    last = max(fractions, default=0.0)
    if last >= 1 or last <= 0:
        return tuple(fractions)
    pace = max(last / len(fractions), (1 - last) / _MOST_LOOKS)
    more = max(1, round((1 - last) / pace))
    return (*fractions, *np.linspace(last, 1.0, more + 1)[1:].tolist())
