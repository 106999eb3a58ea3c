"""How often do our 95 % intervals hold the truth? `python -m benchmarks.coverage`, JSON lines.

Rates are worked out, not drawn: every pair of counts with its probability (where there are too
many, evenly spaced quantiles of each). Means are drawn, with the standard error of the share.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tasks.experiments.statistics.lift import lift_of_means, lift_of_proportions
from tasks.experiments.statistics.means import welch
from tasks.experiments.statistics.moments import Proportion, SampleMean
from tasks.experiments.statistics.proportions import difference_interval

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Floats]

_MOST_COUNTS = 61


@dataclass(frozen=True)
class Rates:
    """Two arms of a rate."""

    control_n: int
    control_rate: float
    treatment_n: int
    treatment_rate: float

    @property
    def fewest(self) -> float:
        """Expected conversions, or units without one, in the arm that has the fewest."""
        rates = (self.control_n, self.control_rate), (self.treatment_n, self.treatment_rate)
        return min(n * min(rate, 1 - rate) for n, rate in rates)


@dataclass(frozen=True)
class Coverage:
    """Share of samples whose interval holds the truth; a missing end holds everything."""

    lift: float
    difference: float
    standard_error: float = 0.0


def coverage_of_rates(arms: Rates) -> Coverage:
    """Coverage of the default intervals of the lift and the difference of two rates."""
    lift = arms.treatment_rate / arms.control_rate - 1
    difference = arms.treatment_rate - arms.control_rate
    held = np.zeros(2)
    for x, wx in _counts(arms.control_n, arms.control_rate):
        for y, wy in _counts(arms.treatment_n, arms.treatment_rate):
            pair = Proportion(arms.control_n, x), Proportion(arms.treatment_n, y)
            relative = lift_of_proportions(*pair)
            held += (
                wx
                * wy
                * np.array(
                    [
                        _holds(relative.lower, relative.upper, lift),
                        _holds(*difference_interval(*pair), difference),
                    ]
                )
            )
    return Coverage(float(held[0]), float(held[1]))


def coverage_of_means(
    draw: Draw, sizes: tuple[int, int], runs: int = 4000, seed: int = 20261121
) -> Coverage:
    """Coverage for two arms drawn alike: there is no difference and no lift."""
    rng = np.random.default_rng(seed)
    held = np.zeros(2)
    for _ in range(runs):
        control, treatment = (_moments(draw(rng, n)) for n in sizes)
        relative, compared = lift_of_means(control, treatment), welch(control, treatment)
        held += [
            _holds(relative.lower, relative.upper, 0.0),
            _holds(compared.lower, compared.upper, 0.0),
        ]
    share = held / runs
    return Coverage(float(share[0]), float(share[1]), sqrt(0.05 * 0.95 / runs))


def revenue(rng: np.random.Generator, n: int) -> Floats:
    """5 % buyers, lognormal amounts with sigma 1.5: the skewed case."""
    bought = rng.random(n) < 0.05
    return np.asarray(np.where(bought, rng.lognormal(0, 1.5, n), 0.0))


def orders(rng: np.random.Generator, n: int) -> Floats:
    """Counts around 3 with more spread than Poisson."""
    return np.asarray(rng.negative_binomial(2, 0.4, n), dtype=float)


def cases_of_rates() -> Iterator[Rates]:
    """Equal arms from 1 to 300 conversions, unequal ones, and rates near 1."""
    for conversions in (1, 3, 5, 10, 20, 30, 50, 100, 300):
        for n in (400, 20_000):
            if conversions < n:
                yield Rates(n, conversions / n, n, conversions / n)
    for n in (40, 400):
        for failures in (1, 3, 10):
            yield Rates(n, 1 - failures / n, n, 1 - failures / n)
    yield from (
        Rates(1_000, 0.005, 10_000, 0.005),
        Rates(10_000, 0.005, 1_000, 0.03),
        Rates(300, 0.1, 3_000, 0.1),
        Rates(1_000, 0.1, 10_000, 0.1),
        Rates(1_000, 0.1, 1_000, 0.2),
        Rates(3_000, 0.01, 3_000, 0.02),
        Rates(40, 0.5, 40, 0.5),
    )


def main() -> int:
    """Print every case; 1 if one misses its bar."""
    is_held = True
    for arms in cases_of_rates():
        found = coverage_of_rates(arms)
        both = found.lift, found.difference
        most = 0.96 if arms.fewest >= 30 else inf
        is_within = all(0.94 <= share <= most for share in both)
        is_held &= is_within
        print(json.dumps({**asdict(arms), **asdict(found), "is_within_bar": is_within}), flush=True)
    for name, draw in (("orders", orders), ("revenue", revenue)):
        for sizes in ((500, 500), (2_000, 2_000), (20_000, 20_000), (20_000, 1_000)):
            found = coverage_of_means(draw, sizes)
            print(json.dumps({"metric": name, "sizes": sizes, **asdict(found)}), flush=True)
    return 0 if is_held else 1


def _counts(n: int, rate: float) -> list[tuple[int, float]]:
    low, high = (int(stats.binom.ppf(level, n, rate)) for level in (1e-5, 1 - 1e-5))
    if high - low < _MOST_COUNTS:
        counts = np.arange(low, high + 1)
        weights = stats.binom.pmf(counts, n, rate)
        return list(zip(counts.tolist(), (weights / weights.sum()).tolist(), strict=True))
    levels = (np.arange(_MOST_COUNTS) + 0.5) / _MOST_COUNTS
    spaced = np.asarray(stats.binom.ppf(levels, n, rate)).astype(int)
    return [(x, 1 / _MOST_COUNTS) for x in spaced.tolist()]


def _holds(lower: float | None, upper: float | None, truth: float) -> bool:
    return (lower is None or lower <= truth) and (upper is None or upper >= truth)


def _moments(values: Floats) -> SampleMean:
    return SampleMean(values.size, float(values.mean()), float(values.var() * values.size))


if __name__ == "__main__":
    sys.exit(main())
