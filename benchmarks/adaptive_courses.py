"""Bandits of rates, drawn step by step: what every epoch has, and the test's z at each look.

Runs go side by side as arrays; the traffic moves as the rule of allocation moves it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from benchmarks.allocating import Known
from tasks.experiments.bandits.evidence import BanditPolicy
from tasks.experiments.bandits.shares import capped, floored
from tasks.experiments.statistics.fixed_effects import ArmUnits
from tasks.experiments.statistics.moments import EMPTY, SampleMean
from tasks.experiments.statistics.posteriors import beta_arms
from tasks.experiments.statistics.stratified import Stratified, stratify
from tasks.experiments.statistics.thompson import chances

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """A bandit of rates; the control is the first arm. Traffic is moved after each step."""

    rates: tuple[float, ...]  # at the start
    rise: float = 0.0  # by which share the control's rate has grown at the end; effects stay
    steps: int = 336  # hours of two weeks
    units: int = 250  # in each step
    policy: BanditPolicy = field(default_factory=BanditPolicy)

    @property
    def planned_units(self) -> int:
        """Over all arms."""
        return self.steps * self.units

    def rates_at(self, step: int) -> Floats:
        """Of each arm."""
        return np.array(self.rates) + self.rates[0] * self.rise * step / max(1, self.steps - 1)


@dataclass(frozen=True)
class Course:
    """What came of the runs: units and conversions, runs x epochs x arms; epochs fill from 0."""

    world: World
    n: Ints
    successes: Ints
    z: Floats  # of the stratified test, runs x looks x treatments; NaN where undefined
    fractions: Floats  # of the planned units, at the looks

    @cached_property
    def pooled(self) -> Floats:
        """Difference of the last arm to the control over all epochs, whatever their splits."""
        rates = self.successes.sum(axis=1) / self.n.sum(axis=1)
        return np.asarray(rates[:, -1] - rates[:, 0])

    def stratified(self, run: int, arm: int = -1) -> Stratified:
        """One arm of one run, by the function itself."""
        epochs = int((self.n[run].sum(axis=1) > 0).sum())
        n, successes = self.n[run, :epochs].tolist(), self.successes[run, :epochs].tolist()
        control, treatment = (
            [_cell(row[each], hits[each]) for row, hits in zip(n, successes, strict=True)]
            for each in (0, arm)
        )
        return stratify(control, treatment, [sum(row) for row in n], is_rate=True)


def draw(world: World, runs: int, seed: int, looks: int = 28) -> Course:
    """Draw so many runs, side by side; the same seed draws the same."""
    rng = np.random.default_rng(seed)
    arms, every = len(world.rates), np.arange(runs)
    n = np.zeros((runs, world.steps + 1, arms), dtype=np.int64)
    successes, z, fractions = np.zeros_like(n), [], []
    weights, epoch = np.full((runs, arms), 1 / arms), np.zeros(runs, dtype=np.int64)
    known, begins = Known.nothing(runs, arms), np.ones(runs, dtype=np.bool_)
    for step in range(world.steps):
        added = rng.multinomial(world.units, weights)
        converted = rng.binomial(added, world.rates_at(step))
        n[every, epoch] += added
        successes[every, epoch] += converted
        known.add(of_rates(added, converted), begins)
        if (step + 1) * looks % world.steps < looks:
            last = int(epoch.max()) + 1
            z.append(deviates(n[:, :last], successes[:, :last]))
            fractions.append((step + 1) / world.steps)
        moved = reallocated(world.policy, known, weights)
        begins = (moved != weights).any(axis=1)
        epoch += begins
        weights = moved
    return Course(world, n, successes, np.stack(z, axis=1), np.array(fractions))


def of_rates(n: Ints, successes: Ints) -> ArmUnits:
    """Units of a rate, as moments."""
    rate = successes / np.maximum(n, 1)
    return ArmUnits(n.astype(float), rate, n * rate * (1 - rate))


def reallocated(policy: BanditPolicy, known: Known, weights: Floats) -> Floats:
    """What the rule of allocation does to the weights, runs x arms, without its words."""
    found, is_barren = known.compared(), known.whole.mean == 0
    n = np.floor(found.n + 1e-9)
    rate = np.where(is_barren, 0.0, np.clip(found.mean, 0.0, 1.0))
    best = chances(beta_arms(n, np.rint(n * rate))).best
    shares = best / best.sum(axis=1, keepdims=True)
    for run in np.flatnonzero(is_barren.any(axis=1)):
        shares[run] = capped(shares[run], is_barren[run])
    wanted = np.array([floored(row, policy.floor) for row in shares])
    change = np.abs(wanted - weights).max(axis=1, keepdims=True)
    is_moved = (change >= policy.minimum_change) & (
        known.whole.n.min(axis=1, keepdims=True) >= policy.warm_up_units
    )
    part = np.minimum(1.0, policy.maximum_step / np.maximum(change, 1e-12))
    return np.where(is_moved, weights + part * (wanted - weights), weights)


def deviates(n: Ints, successes: Ints) -> Floats:
    """Z of the stratified test of each treatment, of many runs at once: runs x treatments."""
    units, hits = n.astype(float), successes.astype(float)
    traffic = units.sum(axis=2, keepdims=True)
    control, treatments = units[..., :1], units[..., 1:]
    both = control + treatments
    with np.errstate(all="ignore"):
        pooled = (hits[..., :1] + hits[..., 1:]) / both
        precision = control * treatments / both
        gaps = hits[..., 1:] / treatments - hits[..., :1] / control
        spread = pooled * (1 - pooled) * both / (both - 1) / precision
        weight = np.sqrt(traffic * precision)
        is_there = precision > 0
        total = np.where(is_there, weight * gaps, 0.0).sum(axis=1)
        variance = np.where(is_there, weight**2 * spread, 0.0).sum(axis=1)
        return np.asarray(total / np.sqrt(variance))


def _cell(n: int, successes: int) -> SampleMean:
    if n == 0:
        return EMPTY
    return SampleMean(n, successes / n, successes * (1 - successes / n))
