"""Whole experiments, drawn: what each arm has at each look, and how it compares with the control.

Units come as the schedule says and split at random; the control is the first arm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tasks.experiments.statistics.estimates import Estimates, compare_many
from tasks.experiments.statistics.moments import Proportion
from tasks.experiments.statistics.proportions import LEAST_EXPECTED, compare_proportions

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

HOURLY = tuple((hour + 1) / 336 for hour in range(336))  # two weeks
DAILY = HOURLY[23::24]
# Daily, a long weekend, a nervous day, a holiday, and a last look that comes late.
IRREGULAR = (*HOURLY[23:72:24], *HOURLY[150:174], *HOURLY[300:312:2], 1.03)
_BLOCK = 1000


@dataclass(frozen=True)
class Experiment:
    """One kind of experiment. ``fractions`` of the planned units are there at each look."""

    values: tuple[float, ...]  # each arm's true rate, or mean
    planned_units: int
    fractions: tuple[float, ...] = HOURLY
    deviation: float | None = None  # of a unit's value; None: a rate
    alpha: float = 0.05
    reserved_alpha: float = 0.0
    minimum_per_arm: int = 100

    @property
    def units(self) -> Ints:
        """Over all arms, at each look."""
        return np.round(np.array(self.fractions) * self.planned_units).astype(np.int64)


@dataclass(frozen=True)
class Paths:
    """Many runs of one experiment. Arrays are runs x looks x arms; z has no control."""

    experiment: Experiment
    n: Ints
    mean: Floats
    m2: Floats

    @cached_property
    def z(self) -> Floats:
        """Normal deviate of each treatment, as the metric's kind has it; NaN where undefined."""
        if self.experiment.deviation is not None:
            return _welch(self)
        return _pooled(self)

    @cached_property
    def is_counted(self) -> Bools:
        """Runs x looks: every arm has its minimum."""
        return np.asarray(self.n.min(axis=2) >= self.experiment.minimum_per_arm)


def draw(experiment: Experiment, runs: int, seed: int) -> Iterator[Paths]:
    """Draw so many runs, a thousand at a time; the same seed draws the same."""
    for number, start in enumerate(range(0, runs, _BLOCK)):
        rng = np.random.default_rng([seed, number])
        yield _block(experiment, min(_BLOCK, runs - start), rng)


def _block(experiment: Experiment, runs: int, rng: np.random.Generator) -> Paths:
    arms = len(experiment.values)
    new = np.diff(experiment.units, prepend=0)
    added = rng.multinomial(new, np.full(arms, 1 / arms), size=(runs, len(new)))
    n = added.cumsum(axis=1)
    values, deviation = np.array(experiment.values), experiment.deviation
    known = np.maximum(n, 1)
    if deviation is None:
        mean = rng.binomial(added, values).cumsum(axis=1) / known
        return Paths(experiment, n, mean, n * mean * (1 - mean))
    # Normal values: sums and squares of those added are drawn as such.
    sums = rng.normal(added * values, deviation * np.sqrt(added))
    squares = deviation**2 * rng.chisquare(np.maximum(added - 1, 1e-9)) + sums**2 / np.maximum(
        added, 1
    )
    mean = sums.cumsum(axis=1) / known
    return Paths(experiment, n, mean, squares.cumsum(axis=1) - known * mean**2)


def _pooled(paths: Paths) -> Floats:
    """Pooled z; where a cell expects too few the exact test, by the function of the rule."""
    n, successes = paths.n, np.round(paths.mean * paths.n)
    control_n, treatment_n = n[..., :1], n[..., 1:]
    both, of_both = control_n + treatment_n, successes[..., :1] + successes[..., 1:]
    with np.errstate(all="ignore"):
        rate = of_both / both
        error = np.sqrt(rate * (1 - rate) * (1 / control_n + 1 / treatment_n))
        z = (paths.mean[..., 1:] - paths.mean[..., :1]) / error
        rarer = np.minimum(of_both, both - of_both)
        least = rarer * np.minimum(control_n, treatment_n) / both
    z[~np.isfinite(z)] = np.nan
    is_exact = (least < LEAST_EXPECTED) & ~np.isnan(z) & paths.is_counted[..., None]
    for run, look, arm in np.argwhere(is_exact):
        first, other = (
            Proportion(int(n[run, look, each]), int(successes[run, look, each]))
            for each in (0, arm + 1)
        )
        exact = compare_proportions(first, other).z
        z[run, look, arm] = np.nan if exact is None else exact
    return np.asarray(z)


def _welch(paths: Paths) -> Floats:
    arms = paths.n.shape[2]
    variance = paths.m2 / np.maximum(paths.n - 1, 1)
    rows = [
        Estimates(
            paths.n[..., arm].ravel().astype(float),
            paths.mean[..., arm].ravel(),
            variance[..., arm].ravel(),
        )
        for arm in range(arms)
    ]
    z = [compare_many(rows[0], row).z.reshape(paths.n.shape[:2]) for row in rows[1:]]
    return np.stack(z, axis=2)
