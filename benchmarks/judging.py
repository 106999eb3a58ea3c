"""What the methods make of drawn experiments: all looks of all runs at once.

A method is what |z| has to reach at each look. The bounds are those of the functions that the rule
calls; what is done with them (Holm, one arm left, the end) is written again for arrays, and
`benchmarks.ruled` puts the rule itself beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import special

from benchmarks.simulated import Bools, Experiment, Floats, Ints, Paths
from tasks.experiments.decision.methods.anytime import anytime_reach
from tasks.experiments.decision.methods.confidence_sequence import LEAST_CONVERSIONS
from tasks.experiments.statistics.corrections import correction_factor
from tasks.experiments.statistics.sequential import group_sequential_bounds

Bound = Callable[[Paths, float], Floats]
"""Paths and a level to what |z| must reach: runs x looks; infinite where nothing is tested."""


def group_sequential(paths: Paths, level: float) -> Floats:
    """Bounds of alpha · t², and past the plan those of the reserve."""
    experiment = paths.experiment
    after = level * experiment.reserved_alpha / experiment.alpha
    bounds: Floats = np.full(paths.is_counted.shape, np.inf)
    first = _first(paths.is_counted)
    for start in np.unique(first[first < bounds.shape[1]]):
        # A look behind the gate tests nothing and is no look: the next one gets its error.
        fractions = tuple((experiment.units / experiment.planned_units)[start:])
        bounds[first == start, start:] = _bounds(fractions, level - after)
    is_past = experiment.units >= experiment.planned_units
    if after > 0 and is_past.any():
        bounds[:, is_past] = np.fmin(bounds[:, is_past], _reserve(experiment, after)[is_past])
    return bounds


def confidence_sequence(paths: Paths, level: float) -> Floats:
    """Valid without an end; two arms."""
    experiment = paths.experiment
    tuned = experiment.alpha, experiment.planned_units
    reach = np.array([anytime_reach(int(n), level, tuned) for n in experiment.units])
    conversions = np.round(paths.mean * paths.n).min(axis=2)
    counts = paths.is_counted & (conversions >= LEAST_CONVERSIONS)
    return np.where(counts, reach, np.inf)


def fixed(paths: Paths, level: float) -> Floats:
    """One test, at the first look that has the planned units."""
    bounds: Floats = np.full(paths.is_counted.shape, np.inf)
    at_end = int(np.argmax(paths.experiment.units >= paths.experiment.planned_units))
    bounds[:, at_end] = -special.ndtri(level / 2)
    return bounds


def significant_at_last(paths: Paths, level: float) -> Floats:
    """Significant and enough units, whenever one looks: the rule that people ask for."""
    return np.where(paths.is_counted, -special.ndtri(level / 2), np.inf)


def likely_at_last(paths: Paths, level: float) -> Floats:
    """A chance of 1 - level to beat the control, at any look: the normal limit of posteriors."""
    return np.where(paths.is_counted, -special.ndtri(level), np.inf)


class Decided(NamedTuple):
    """What became of each run. Looks are counted from 0."""

    is_any_found: Bools  # some arm significant, for better or worse, up to the end
    is_null_found: Bools  # one that is truly like the control
    winner: Ints  # the treatment that won, from 1; 0: none
    look: Ints  # the last one
    level: Floats  # at which the winner was found


def decide(paths: Paths, bound: Bound) -> Decided:
    """Step down over the arms at every look; end at the one arm that is left, or at the plan."""
    arms = paths.z.shape[2]
    crossings = [_crossing(paths, bound, paths.experiment.alpha / k) for k in range(1, arms + 1)]
    found, is_above, open_arms = _step_down(crossings, paths.z.shape)
    better = found & is_above & (paths.mean[..., 1:] > paths.mean[..., :1])
    is_won = better.sum(axis=2) == 1
    last = np.minimum(_first(is_won), is_won.shape[1] - 1)
    rows = np.arange(len(last))
    has_winner = is_won[rows, last]
    until = np.arange(is_won.shape[1]) <= last[:, None]
    seen = (found & until[..., None]).any(axis=1)
    is_null = np.array(paths.experiment.values[1:]) == paths.experiment.values[0]
    arm = better[rows, last].argmax(axis=1)
    return Decided(
        is_any_found=seen.any(axis=1),
        is_null_found=seen[:, is_null].any(axis=1),
        winner=np.where(has_winner, arm + 1, 0),
        look=last,
        level=paths.experiment.alpha / np.maximum(open_arms[rows, last, arm], 1),
    )


def lifts(paths: Paths, decided: Decided) -> tuple[Floats, Floats]:
    """Raw and corrected lift of each winner under the group-sequential bounds."""
    experiment = paths.experiment
    won = np.flatnonzero(decided.winner)
    look, arm = decided.look[won], decided.winner[won]
    control = paths.mean[won, look, 0]
    raw = (paths.mean[won, look, arm] - control) / np.where(control > 0, control, np.nan)
    before = 1 - experiment.reserved_alpha / experiment.alpha
    first = _first(paths.is_counted)[won]
    fractions = experiment.units / experiment.planned_units
    factors = [
        _factor(tuple(fractions[start : end + 1]), level * before)
        for start, end, level in zip(first, look, decided.level[won], strict=True)
    ]
    return raw, raw * np.array(factors)


@dataclass(frozen=True)
class _Crossing:
    """Of one level, by run and arm: the first look beyond the bound, and on which side."""

    look: Ints
    is_above: Bools


def _crossing(paths: Paths, bound: Bound, level: float) -> _Crossing:
    with np.errstate(invalid="ignore"):
        is_beyond = np.abs(paths.z) >= bound(paths, level)[..., None]
    look = _first(is_beyond)
    at = np.minimum(look, is_beyond.shape[1] - 1)[:, None]
    return _Crossing(look, np.take_along_axis(paths.z, at, axis=1)[:, 0] > 0)


def _step_down(crossings: list[_Crossing], shape: tuple[int, ...]) -> tuple[Bools, Bools, Ints]:
    """Holm at every look: found, above, among how many open arms; crossings by their number."""
    found, is_above = np.zeros(shape, bool), np.zeros(shape, bool)
    among, is_open = np.zeros(shape, np.int64), np.ones(shape, bool)
    looks = np.arange(shape[1])[:, None]
    by_look = [crossing.look[:, None] <= looks for crossing in crossings]
    for _ in crossings:
        count = is_open.sum(axis=2, keepdims=True)
        hit = np.zeros(shape, bool)
        for k, crossing in enumerate(crossings, start=1):
            now = is_open & (count == k) & by_look[k - 1]
            hit |= now
            is_above = np.where(now, crossing.is_above[:, None], is_above)
            among = np.where(now, k, among)
        found |= hit
        is_open &= ~hit & hit.any(axis=2, keepdims=True)
    return found, is_above, among


def _first(flags: Bools) -> Ints:
    """Index of the first look that is true; the number of looks where none is."""
    found: Ints = np.where(flags.any(axis=1), flags.argmax(axis=1), flags.shape[1])
    return found


@lru_cache(maxsize=256)
def _bounds(fractions: tuple[float, ...], level: float) -> Floats:
    bounds = group_sequential_bounds(fractions, level)
    return np.array([np.inf if bound.z is None else bound.z for bound in bounds])


@lru_cache(maxsize=4096)
def _factor(fractions: tuple[float, ...], level: float) -> float:
    factor = correction_factor(fractions, level)
    if factor is None:
        raise AssertionError("a winner without a bound")
    return factor


def _reserve(experiment: Experiment, level: float) -> Floats:
    """Of the confidence sequence at each look; two arms."""
    tuned = experiment.reserved_alpha, experiment.planned_units
    return np.array([anytime_reach(int(n), level, tuned) for n in experiment.units])
