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
from tasks.experiments.statistics.fixed_effects import ArmUnits, Equations

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

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
    rise: float = 0.0  # by which part all values have grown at the end
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
class Known:
    """Every arm, runs x arms: in the epoch that is going on, and in those before."""

    whole: ArmUnits
    epoch: ArmUnits
    before: Equations

    @classmethod
    def nothing(cls, runs: int, arms: int) -> Known:
        """Nobody has come yet."""
        nobody = _nobody((runs, arms))
        return cls(nobody, nobody, Equations.of(nobody))

    def add(self, came: ArmUnits, begins: Bools) -> None:
        """Add units; ``begins`` says in which runs they are the first of an epoch."""
        nobody = _nobody(came.n.shape)
        self.before += Equations.of(_where(begins, self.epoch, nobody))
        self.epoch = _where(begins, nobody, self.epoch) + came
        self.whole += came

    def compared(self) -> ArmUnits:
        """The arms as an update sees them."""
        return (self.before + Equations.of(self.epoch)).solve()


def _where(rows: Bools, first: ArmUnits, second: ArmUnits) -> ArmUnits:
    pairs = zip(*((each.n, each.mean, each.m2) for each in (first, second)), strict=True)
    return ArmUnits(*(np.where(rows[:, None], one, other) for one, other in pairs))


def _nobody(shape: tuple[int, ...]) -> ArmUnits:
    return ArmUnits(*(np.zeros(shape),) * 3)


def run(bandit: Bandit, runs: int, seed: int) -> Course:
    """Draw so many runs; the same seed draws the same."""
    rng = np.random.default_rng(seed)
    arms = len(bandit.values)
    weights, units = np.full((runs, arms), 1 / arms), np.zeros((runs, arms), np.int64)
    known, begins = Known.nothing(runs, arms), np.ones(runs, bool)
    waiting = [(known.whole, begins)] * bandit.window_hours
    changes, likely = np.zeros(runs, np.int64), np.zeros(runs)
    for hour in range(bandit.hours):
        added = rng.multinomial(UNITS_AN_HOUR, weights)
        units += added
        waiting.append((_drawn(bandit, added, hour, rng), begins))
        known.add(*waiting.pop(0))
        verdicts = allocate_many(_evidence(bandit, known, weights, hour + 1))
        weights = np.array([list(verdict.details["weights"].values()) for verdict in verdicts])
        begins = np.array([verdict.verdict == "changed" for verdict in verdicts])
        changes += begins
        likely = np.maximum(likely, [_likeliest(verdict) for verdict in verdicts])
    return Course(bandit, units, weights, known.compared().mean.argmax(axis=1), changes, likely)


def untouched(bandit: Bandit) -> Bandit:
    """The same with a split that stays equal."""
    return replace(bandit, policy=BanditPolicy(warm_up_units=10**9))


def mean_and_error(values: Floats) -> tuple[float, float]:
    """Mean over the runs, and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / sqrt(len(values)))


def _drawn(bandit: Bandit, added: Ints, hour: int, rng: np.random.Generator) -> ArmUnits:
    """Outcomes of the units that came in one hour."""
    mood = 1 + bandit.swing * sin(2 * pi * hour / HOURS_A_WEEK) + bandit.rise * hour / bandit.hours
    values = np.array(bandit.values) * mood
    if bandit.deviation is None:
        mean = rng.binomial(added, values) / np.maximum(added, 1)
        return ArmUnits(added.astype(float), mean, added * mean * (1 - mean))
    known = np.maximum(added, 1)
    mean = np.where(added > 0, rng.normal(values, bandit.deviation / np.sqrt(known)), 0.0)
    squares = rng.chisquare(np.maximum(added - 1, 1)) * bandit.deviation**2
    return ArmUnits(added.astype(float), mean, np.where(added > 1, squares, 0.0))


def _evidence(
    bandit: Bandit, known: Known, weights: Floats, hours: int
) -> list[AllocationEvidence]:
    found = known.compared()
    mean = np.clip(found.mean, 0, 1) if bandit.deviation is None else found.mean
    rows = zip(known.whole.n, mean, found.m2, np.floor(found.n + 1e-9), weights, strict=True)
    return [
        AllocationEvidence(
            experiment="drawn",
            metric="value",
            is_rate=bandit.deviation is None,
            policy=bandit.policy,
            arms=tuple(
                BanditArm(
                    name=str(arm), n=int(n), mean=mean, m2=m2, effective_n=int(sure), weight=weight
                )
                for arm, (n, mean, m2, sure, weight) in enumerate(
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
