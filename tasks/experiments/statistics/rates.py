"""Intervals of one proportion."""

from __future__ import annotations

from math import sqrt

from scipy import special

from tasks.experiments.statistics.moments import Proportion

Interval = tuple[float, float]

FEW_UNITS = 50
"""With fewer units in an arm than this, intervals are made from exact limits."""


def wilson_interval(sample: Proportion, alpha: float = 0.05) -> Interval:
    """Score interval of one rate; (0, 1) without units. Source: Wilson (1927)."""
    if sample.n == 0:
        return 0.0, 1.0
    z = -float(special.ndtri(alpha / 2))
    rate = sample.successes / sample.n
    weight = z * z / sample.n
    centre = (rate + weight / 2) / (1 + weight)
    half = z * sqrt(rate * (1 - rate) / sample.n + weight / (4 * sample.n)) / (1 + weight)
    lower = 0.0 if sample.successes == 0 else max(0.0, centre - half)
    upper = 1.0 if sample.successes == sample.n else min(1.0, centre + half)
    return lower, upper


def clopper_pearson_interval(sample: Proportion, alpha: float = 0.05) -> Interval:
    """Exact interval of one rate: covers at least 1 - alpha. Source: Clopper, Pearson (1934)."""
    if sample.n == 0:
        return 0.0, 1.0
    failures = sample.n - sample.successes
    lower = special.betaincinv(sample.successes, failures + 1, alpha / 2)
    upper = special.betainccinv(sample.successes + 1, failures, alpha / 2)
    return float(lower) if sample.successes else 0.0, float(upper) if failures else 1.0


def jeffreys_interval(sample: Proportion, alpha: float = 0.05) -> Interval:
    """Equal-tailed posterior interval under Beta(1/2, 1/2). Source: Brown, Cai, DasGupta (2001)."""
    failures = sample.n - sample.successes
    a, b = sample.successes + 0.5, failures + 0.5
    lower = float(special.betaincinv(a, b, alpha / 2))
    upper = float(special.betainccinv(a, b, alpha / 2))
    return lower if sample.successes else 0.0, upper if failures else 1.0


def agresti_coull_interval(sample: Proportion, alpha: float = 0.05) -> Interval:
    """Normal interval around Wilson's centre, cut to 0…1. Source: Agresti and Coull (1998)."""
    z = -float(special.ndtri(alpha / 2))
    n = sample.n + z * z
    centre = (sample.successes + z * z / 2) / n
    half = z * sqrt(centre * (1 - centre) / n)
    return max(0.0, centre - half), min(1.0, centre + half)
