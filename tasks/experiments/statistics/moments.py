"""Sufficient statistics of one arm: centred moments and counts, mergeable without loss.

Sums of squares are avoided on purpose: 999 values near 1e9 give a variance of 12345 from
``sum(x*x)`` in doubles and 0.667 from centred moments.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import fsum, sqrt

from scipy import special


@dataclass(frozen=True, slots=True)
class SampleMean:
    """Count, mean and centred second moment of one value per unit."""

    n: int
    mean: float
    m2: float  # sum of squared deviations from the mean

    @property
    def variance(self) -> float | None:
        """Sample variance (n - 1); None below two units."""
        return max(self.m2, 0.0) / (self.n - 1) if self.n > 1 else None

    def __add__(self, other: SampleMean) -> SampleMean:
        """Merge two disjoint samples. Source: Chan, Golub and LeVeque (1979)."""
        n = self.n + other.n
        if n == 0:
            return EMPTY
        gap = other.mean - self.mean
        mean = self.mean + gap * (other.n / n)
        return SampleMean(n, mean, self.m2 + other.m2 + gap * gap * (self.n * other.n / n))


EMPTY = SampleMean(0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Proportion:
    """How many units, and how many of them converted."""

    n: int
    successes: int

    @property
    def rate(self) -> float | None:
        """Share of units that converted, 0 to 1; None without units."""
        return self.successes / self.n if self.n else None

    def __add__(self, other: Proportion) -> Proportion:
        """Merge two disjoint samples."""
        return Proportion(self.n + other.n, self.successes + other.successes)


def sample_mean(values: Iterable[float]) -> SampleMean:
    """Moments of raw values in two passes, each exactly summed."""
    held = [float(value) for value in values]
    if not held:
        return EMPTY
    mean = fsum(held) / len(held)
    return SampleMean(len(held), mean, fsum((value - mean) ** 2 for value in held))


def as_proportion(moments: SampleMean) -> Proportion:
    """Counts of a metric whose values are 0 or 1, recovered from its moments."""
    return Proportion(moments.n, round(moments.mean * moments.n))


def mean_interval(moments: SampleMean, alpha: float = 0.05) -> tuple[float, float] | None:
    """Student's t interval of one mean; None where the variance is unknown."""
    if moments.variance is None:
        return None
    half = float(special.stdtrit(moments.n - 1, 1 - alpha / 2)) * sqrt(moments.variance / moments.n)
    return moments.mean - half, moments.mean + half
