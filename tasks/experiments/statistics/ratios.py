"""Two values per unit: their joint moments, and the ratio of their means."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import fsum, nan

from tasks.experiments.statistics.estimates import Estimate
from tasks.experiments.statistics.moments import SampleMean


@dataclass(frozen=True, slots=True)
class JointMoments:
    """Centred moments of two values per unit: of each one, and how they vary together."""

    n: int
    mean: float
    m2: float
    other_mean: float
    other_m2: float
    co_m2: float  # sum of (value - mean) × (other - other_mean)

    @property
    def value(self) -> SampleMean:
        """The moments of the first value alone."""
        return SampleMean(self.n, self.mean, self.m2)

    @property
    def other(self) -> SampleMean:
        """The moments of the second value alone."""
        return SampleMean(self.n, self.other_mean, self.other_m2)

    def __add__(self, added: JointMoments) -> JointMoments:
        """Merge two disjoint samples. Source: Chan, Golub and LeVeque (1979)."""
        value, other = self.value + added.value, self.other + added.other
        n = value.n
        gaps = (added.mean - self.mean) * (added.other_mean - self.other_mean)
        shared = gaps * (self.n * added.n / n) if n else 0.0
        co_m2 = self.co_m2 + added.co_m2 + shared
        return JointMoments(n, value.mean, value.m2, other.mean, other.m2, co_m2)


def joint_moments(pairs: Iterable[tuple[float, float]]) -> JointMoments:
    """Moments of raw pairs (value, other) in two passes, each exactly summed."""
    held = list(pairs)
    if not held:
        return JointMoments(0, 0.0, 0.0, 0.0, 0.0, 0.0)
    n = len(held)
    first, second = fsum(x for x, _ in held) / n, fsum(y for _, y in held) / n
    return JointMoments(
        n,
        first,
        fsum((x - first) ** 2 for x, _ in held),
        second,
        fsum((y - second) ** 2 for _, y in held),
        fsum((x - first) * (y - second) for x, y in held),
    )


def ratio_of_means(moments: JointMoments) -> Estimate:
    """Sum of the first value over the sum of the second, as clicks per view; units are users.

    Its variance is (s²_M - 2R s_MD + R² s²_D) / D̄² by the delta method; undefined where the second
    adds up to 0. Source: Deng, Knoblich and Lu (KDD 2018).
    """
    if moments.n < 2 or moments.other_mean == 0:
        return Estimate(moments.n, nan, nan)
    ratio = moments.mean / moments.other_mean
    spread = moments.m2 - 2 * ratio * moments.co_m2 + ratio**2 * moments.other_m2
    variance = max(0.0, spread) / (moments.n - 1) / moments.other_mean**2
    return Estimate(moments.n, ratio, variance)
