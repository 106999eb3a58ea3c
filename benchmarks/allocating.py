"""Whole bandits, drawn: units come by the hour, and the rule itself moves the split after each.

Runs go side by side, so that one integration serves the same hour of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import pi, sin, sqrt

import numpy as np
from numpy.typing import NDArray

from tasks.decisions import Verdict
from tasks.experiments.bandits.allocation import allocate_many
from tasks.experiments.bandits.evidence import AllocationEvidence, BanditArm, BanditPolicy
from tasks.experiments.quality.model import QualityCheck

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HOURS, UNITS_AN_HOUR = 336, 250  # two weeks
HOURS_A_WEEK = 168
LIKELY = 0.95
_PASSED = (QualityCheck(name="srm", outcome="passed"),)


@dataclass(frozen=True)
class Bandit:
    """One kind of bandit; it starts with an equal split."""

    values: tuple[float, ...]  # each arm's true rate, or mean
    policy: BanditPolicy = field(default_factory=BanditPolicy)
    deviation: float | None = None  # of a unit's value; None: a rate
    window_hours: int = 0  # until a unit's outcome is known
    swing: float = 0.0  # by which part all values go up and down in a week
    hours: int = HOURS


@dataclass(frozen=True)
class Course:
    """What came of the runs; arrays are runs, or runs x arms."""

    bandit: Bandit
    units: Ints  # runs x arms, at the end
    weights: Floats  # the last split
    leader: Ints  # the arm with the best mean at the end
    changes: Ints  # how often the split changed
    most_likely: Floats  # the highest chance to be the best that any arm ever had

    @property
    def regret(self) -> Floats:
        """Value lost against the best arm, as a share of what an equal split loses; each run."""
        gaps = max(self.bandit.values) - np.array(self.bandit.values)
        return np.asarray(self.units @ gaps / (self.units.sum(axis=1) * gaps.mean()))


@dataclass
class _Known:
    """Moments of every arm, runs x arms."""

    n: Ints
    mean: Floats
    m2: Floats

    def add(self, other: _Known) -> None:
        """Merge what came since (Chan, Golub and LeVeque 1979)."""
        n = self.n + other.n
        gap, share = other.mean - self.mean, other.n / np.maximum(n, 1)
        self.m2 = self.m2 + other.m2 + gap**2 * self.n * share
        self.mean = self.mean + gap * share
        self.n = n


def run(bandit: Bandit, runs: int, seed: int) -> Course:
    """Draw so many runs; the same seed draws the same."""
    rng = np.random.default_rng(seed)
    arms = len(bandit.values)
    weights, units = np.full((runs, arms), 1 / arms), np.zeros((runs, arms), np.int64)
    known, waiting = _nothing(units), [_nothing(units)] * bandit.window_hours
    changes, likely = np.zeros(runs, np.int64), np.zeros(runs)
    for hour in range(bandit.hours):
        added = rng.multinomial(UNITS_AN_HOUR, weights)
        units += added
        waiting.append(_drawn(bandit, added, hour, rng))
        known.add(waiting.pop(0))
        verdicts = allocate_many(_evidence(bandit, known, weights, hour + 1))
        weights = np.array([list(verdict.details["weights"].values()) for verdict in verdicts])
        changes += [verdict.verdict == "changed" for verdict in verdicts]
        likely = np.maximum(likely, [_likeliest(verdict) for verdict in verdicts])
    return Course(bandit, units, weights, known.mean.argmax(axis=1), changes, likely)


def untouched(bandit: Bandit) -> Bandit:
    """The same with a split that stays equal."""
    return replace(bandit, policy=BanditPolicy(warm_up_units=10**9))


def mean_and_error(values: Floats) -> tuple[float, float]:
    """Mean over the runs, and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / sqrt(len(values)))


def _nothing(units: Ints) -> _Known:
    return _Known(np.zeros_like(units), np.zeros(units.shape), np.zeros(units.shape))


def _drawn(bandit: Bandit, added: Ints, hour: int, rng: np.random.Generator) -> _Known:
    """Outcomes of the units that came in one hour."""
    values = np.array(bandit.values) * (1 + bandit.swing * sin(2 * pi * hour / HOURS_A_WEEK))
    if bandit.deviation is None:
        mean = rng.binomial(added, values) / np.maximum(added, 1)
        return _Known(added, mean, added * mean * (1 - mean))
    known = np.maximum(added, 1)
    mean = np.where(added > 0, rng.normal(values, bandit.deviation / np.sqrt(known)), 0.0)
    squares = rng.chisquare(np.maximum(added - 1, 1)) * bandit.deviation**2
    return _Known(added, mean, np.where(added > 1, squares, 0.0))


def _evidence(
    bandit: Bandit, known: _Known, weights: Floats, hours: int
) -> list[AllocationEvidence]:
    rows = zip(known.n, known.mean, known.m2, weights, strict=True)
    return [
        AllocationEvidence(
            experiment="drawn",
            metric="value",
            is_rate=bandit.deviation is None,
            policy=bandit.policy,
            arms=tuple(
                BanditArm(name=str(arm), n=n, mean=mean, m2=m2, weight=weight)
                for arm, (n, mean, m2, weight) in enumerate(
                    zip(*(each.tolist() for each in row), strict=True)
                )
            ),
            hours=hours,
            checks=_PASSED,
        )
        for row in rows
    ]


def _likeliest(verdict: Verdict) -> float:
    return max(float(row["chance_best"]) for row in verdict.details["arms"])
