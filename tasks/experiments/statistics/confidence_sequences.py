"""Confidence sequences: intervals that hold at every look at once, without a planned end.

Wider than group-sequential ones where the end is planned; used on the error that was reserved for
the time after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, log1p, sqrt

from scipy import optimize, special

from tasks.experiments.statistics.comparison import Comparison


@dataclass(frozen=True, slots=True)
class AnytimeValid:
    """An effect with its interval and p-value, both valid at every look; None = undefined."""

    effect: float | None = None
    lower: float | None = None
    upper: float | None = None
    p_value: float | None = None  # of this look; the smallest so far counts
    log10_e: float | None = None  # log10 of the e-value: evidence against no effect

    def is_significant(self, alpha: float) -> bool:
        """Tell whether no effect is outside the interval of this alpha; undefined never is."""
        return self.p_value is not None and self.p_value <= alpha


def confidence_sequence(
    found: Comparison, n: int, alpha: float = 0.05, tuning_n: float = 5000
) -> AnytimeValid:
    """The interval of a comparison's difference that may be read at every look.

    Args:
        found: the comparison; its difference and standard error count. On the absolute scale: on
            that of the delta method's lift it leaks at rates below a few percent.
        n: units in both arms.
        alpha: error over all looks together.
        tuning_n: the n at which the interval is to be narrowest, best the planned one.

    Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), asymptotic confidence sequence.
    """
    effect, error = found.difference, found.standard_error
    if effect is None or error is None or not error > 0 or n < 1:
        return AnytimeValid()
    spread = mixture_rho(alpha, tuning_n) ** 2 * n
    log_e = spread * (effect / error) ** 2 / (2 * (spread + 1)) - log1p(spread) / 2
    half = error * sqrt(2 * (spread + 1) / spread * (log1p(spread) / 2 - log(alpha)))
    p_value = exp(-log_e) if log_e > 0 else 1.0
    return AnytimeValid(effect, effect - half, effect + half, p_value, log_e / log(10))


def mixture_rho(alpha: float, tuning_n: float) -> float:
    """The mixture's standard deviation that is narrowest at ``tuning_n`` units; eq. 161 there."""
    return sqrt((-2 * log(alpha) + log(-2 * log(alpha) + 1)) / tuning_n)


@dataclass(frozen=True, slots=True)
class NormalMixture:
    """The normal mixture boundary for a sum with variance process v, narrowest at ``v_opt``.

    Source: Howard, Ramdas, McAuliffe and Sekhon (2021), propositions 5 and 6.
    """

    rho: float
    sides: int

    @classmethod
    def tuned(cls, v_opt: float, alpha: float, sides: int = 2) -> NormalMixture:
        """The mixture that is narrowest at ``v_opt`` for this alpha."""
        two_sided = 2 * alpha if sides == 1 else alpha
        twice = -2 * log(two_sided)
        return cls(v_opt / (twice + log1p(twice)), sides)

    def log_mixture(self, s: float, v: float) -> float:
        """Log of the supermartingale where the sum is ``s``: the evidence against mean 0."""
        total = v + self.rho
        if self.sides == 2:
            return log(self.rho / total) / 2 + s * s / (2 * total)
        tail = float(special.log_ndtr(s / sqrt(total)))
        return log(4 * self.rho / total) / 2 + s * s / (2 * total) + tail

    def bound(self, v: float, alpha: float) -> float:
        """How far the sum may go by variance ``v``: beyond it with probability alpha, ever."""
        total = v + self.rho
        two_sided = sqrt(total * (log(total / self.rho) - 2 * log(alpha)))
        if self.sides == 2:
            return two_sided
        return float(
            optimize.brentq(lambda s: self.log_mixture(s, v) + log(alpha), -two_sided, two_sided)
        )
