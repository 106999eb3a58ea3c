"""How many units a plan needs: the fixed test's sizes, and what looking often adds to them.

Sizes are those of the control, as fractions of units; round them up. The treatment gets ``ratio``
times as many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, inf, sqrt

from scipy import optimize, special

from tasks.experiments.statistics.comparison import Alternative
from tasks.experiments.statistics.drifts import drift_for, exits
from tasks.experiments.statistics.power import normal_power, t_power

_FEWEST = 2.0


@dataclass(frozen=True, slots=True)
class Sample:
    """A planned sample: the units of each arm, and what was made of what."""

    control: int
    treatment: int  # of each treatment
    total: int
    fixed_total: float  # what one look at the end would need
    inflation: float  # what looking often multiplies it by
    alpha: float  # of each comparison


@dataclass(frozen=True, slots=True)
class Design:
    """What a planned sample must do: how often it is looked at, and how sure it is to be.

    ``shares`` of the traffic, the control first; the smallest treatment must have the power, each
    at alpha / treatments, as Holm begins. Looks, or fractions of the plan, spend alpha · t^rho.
    """

    looks: int | tuple[float, ...]
    shares: tuple[float, ...] = (0.5, 0.5)
    alpha: float = 0.05
    power: float = 0.8
    rho: float = 2.0

    @property
    def level(self) -> float:
        """Error of each comparison."""
        return self.alpha / (len(self.shares) - 1)

    @property
    def smallest_ratio(self) -> float:
        """Units of the smallest treatment for each one of the control."""
        return min(self.shares[1:]) / self.shares[0]


def size_for_effect(
    effect: float,
    alpha: float = 0.05,
    power: float = 0.8,
    ratio: float = 1.0,
    alternative: Alternative = "two-sided",
    *,
    is_normal: bool = False,
) -> float:
    """Control units to find an effect in standard deviations (Cohen's d or h); inf for none."""
    if effect == 0:
        return inf
    of_size = normal_power if is_normal else t_power

    def lacking(n: float) -> float:
        return of_size(effect, n, ratio * n, alpha, alternative) - power

    if lacking(_FEWEST) >= 0:
        return _FEWEST
    most = _FEWEST
    while lacking(most) < 0:
        most *= 2
    return float(optimize.brentq(lacking, most / 2, most, xtol=1e-9, rtol=1e-12))


def size_for_rates(
    baseline_rate: float,
    difference: float,
    alpha: float = 0.05,
    power: float = 0.8,
    ratio: float = 1.0,
) -> float:
    """Control units to find a difference of rates with the pooled z test, two-sided.

    Pooled variance without an effect, unpooled with it. Source: Fleiss, Levin and Paik (2003).
    """
    other = baseline_rate + difference
    pooled = (baseline_rate + ratio * other) / (1 + ratio)
    without = sqrt(pooled * (1 - pooled) * (1 + 1 / ratio))
    own, others = baseline_rate * (1 - baseline_rate), other * (1 - other)
    needed = -special.ndtri(alpha / 2) * without + special.ndtri(power) * sqrt(own + others / ratio)
    return float(needed / difference) ** 2


def power_of_rates(
    baseline_rate: float, difference: float, n: float, alpha: float = 0.05, ratio: float = 1.0
) -> float:
    """Power of the pooled z test at ``n`` control units, both tails counted."""
    other = baseline_rate + difference
    pooled = (baseline_rate + ratio * other) / (1 + ratio)
    without = sqrt(pooled * (1 - pooled) * (1 + 1 / ratio) / n)
    own, others = baseline_rate * (1 - baseline_rate), other * (1 - other)
    error = sqrt((own + others / ratio) / n)
    reach = -float(special.ndtri(alpha / 2)) * without
    tails = (special.ndtr((sign * difference - reach) / error) for sign in (1, -1))
    return float(sum(tails))


def size_for_shares(
    variance: float,
    difference: float,
    shares: Sequence[float],
    alpha: float = 0.05,
    power: float = 0.8,
) -> float:
    """Units of all arms together so that each treatment finds the difference, one variance in all.

    ``shares`` of the traffic, the control first, any positive scale. Source: Duflo, Glennerster and
    Kremer (2007).
    """
    control, *treatments = (share / sum(shares) for share in shares)
    needed = float(special.ndtri(power) - special.ndtri(alpha / 2)) ** 2
    widest = max(1 / control + 1 / share for share in treatments)
    return needed * variance * widest / difference**2


def inflation(
    looks: int | Sequence[float], alpha: float = 0.05, power: float = 0.8, rho: float = 2.0
) -> float:
    """What a fixed sample must be multiplied by to keep its power at this many looks.

    Equally spaced ones, or at these fractions of the plan. Source: Jennison and Turnbull (2000).
    """
    if isinstance(looks, int):
        looks = [(number + 1) / looks for number in range(looks)]
    return _inflation(tuple(looks), alpha, power, rho)


@lru_cache(maxsize=256)
def _inflation(fractions: tuple[float, ...], alpha: float, power: float, rho: float) -> float:
    drift = drift_for(exits(fractions, alpha, rho), power)
    return (drift / float(special.ndtri(power) - special.ndtri(alpha / 2))) ** 2


def plan_rates(baseline_rate: float, difference: float, design: Design) -> Sample:
    """Sample to find a difference of rates."""
    fixed = size_for_rates(
        baseline_rate, difference, design.level, design.power, design.smallest_ratio
    )
    return _planned(fixed, design)


def plan_means(standard_deviation: float, difference: float, design: Design) -> Sample:
    """Sample to find a difference of means."""
    effect = difference / standard_deviation
    fixed = size_for_effect(effect, design.level, design.power, design.smallest_ratio)
    return _planned(fixed, design)


def _planned(fixed: float, design: Design) -> Sample:
    factor = inflation(design.looks, design.level, design.power, design.rho)
    units = [fixed * share / design.shares[0] for share in design.shares]
    control, *treatments = (ceil(n * factor) for n in units)
    return Sample(
        control=control,
        treatment=min(treatments),
        total=control + sum(treatments),
        fixed_total=sum(units),
        inflation=factor,
        alpha=design.level,
    )
