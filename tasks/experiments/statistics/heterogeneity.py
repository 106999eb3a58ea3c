"""Is the effect another one in another segment? A test for each dimension, and each level's effect.

The overall effect needs no segment; segments are looked at to understand it. Whoever looks at many
finds something in one of them, so the tests of dimensions share one error, and so do the effects of
one dimension's levels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tasks.experiments.statistics.comparison import Comparison
from tasks.experiments.statistics.estimates import Estimate, compare
from tasks.experiments.statistics.multiplicity import holm

Floats = NDArray[np.float64]
Level = Mapping[str, Estimate]
"""The metric in one segment, by arm."""

LEAST_UNITS = 100
"""Smaller segments are left out of the test: with 30 units an arm in 20 levels 7 % were too far."""

_LARGEST = 1e100  # figures beyond it have no square in doubles
_SURE = 1e-12  # with more degrees of freedom than its inverse F is chi-square


@dataclass(frozen=True, slots=True)
class LevelEffect:
    """The effect of one arm in one segment."""

    dimension: str
    level: str
    arm: str
    comparison: Comparison
    p_adjusted: float | None  # Holm over the levels and arms of the dimension


@dataclass(frozen=True, slots=True)
class HeterogeneityTest:
    """Whether the effects of one arm differ between the segments; None where there are not two."""

    dimension: str
    arm: str
    q: float | None
    dof: int
    p_value: float | None
    p_adjusted: float | None  # Holm over all dimensions and arms
    left_out: tuple[str, ...]  # levels that are too small, or whose effect is unknown


@dataclass(frozen=True, slots=True)
class Heterogeneity:
    """All dimensions of one metric."""

    tests: tuple[HeterogeneityTest, ...]
    effects: tuple[LevelEffect, ...]


def heterogeneity(
    dimensions: Mapping[str, Mapping[str, Level]], control: str, alpha: float = 0.05
) -> Heterogeneity:
    """Compare every arm with the control in every segment, and the segments with each other.

    Args:
        dimensions: by dimension and level the metric of each arm; an arm that is not named has no
            units there.
        control: name of the control.
        alpha: of the intervals, each for itself.
    """
    effects: list[LevelEffect] = []
    tests: list[HeterogeneityTest] = []
    for dimension, levels in dimensions.items():
        arms = sorted({arm for level in levels.values() for arm in level} - {control})
        found = list(_effects(dimension, levels, control, arms, alpha))
        effects += _corrected(found)
        for arm in arms:
            kept = {
                each.level: each.comparison
                for each in found
                if each.arm == arm and _is_large(levels[each.level], control, arm)
            }
            tests.append(_test(dimension, arm, kept, levels))
    return Heterogeneity(_with_holm(tests), tuple(effects))


def cochran_q(
    effects: Sequence[float], errors: Sequence[float], dofs: Sequence[float]
) -> tuple[float, float]:
    """The effects' squared distances from their mean, weighted by precision, and its p-value.

    Where all effects are the same, Q is chi-square with one degree of freedom less than there are
    effects, were the errors known. They are estimated, each with its degrees of freedom (infinite:
    known), so Q is a little larger, and its p-value that of Welch's F.
    Sources: Cochran (1954); Welch (1951, Biometrika 38).
    """
    values, weights = np.array(effects, dtype=float), np.array(errors, dtype=float) ** -2
    k, total = len(values), weights.sum()
    mean = weights @ values / total
    q = float(weights @ (values - mean) ** 2)
    unsure = float(np.sum((1 - weights / total) ** 2 / np.array(dofs, dtype=float)))
    if 3 * unsure < _SURE:
        return q, float(special.chdtrc(k - 1, q))
    ratio = q / (k - 1) / (1 + 2 * (k - 2) / (k**2 - 1) * unsure)
    return q, float(special.fdtrc(k - 1, (k**2 - 1) / (3 * unsure), ratio))


def _effects(
    dimension: str, levels: Mapping[str, Level], control: str, arms: Sequence[str], alpha: float
) -> Iterator[LevelEffect]:
    for name, level in levels.items():
        for arm in arms:
            is_there = control in level and arm in level
            found = compare(level[control], level[arm], alpha) if is_there else Comparison()
            yield LevelEffect(dimension, name, arm, found, found.p_value)


def _is_large(level: Level, control: str, arm: str) -> bool:
    return all(name in level and level[name].n >= LEAST_UNITS for name in (control, arm))


def _test(
    dimension: str, arm: str, kept: Mapping[str, Comparison], levels: Mapping[str, Level]
) -> HeterogeneityTest:
    known = {
        level: (found.difference, found.standard_error, found.dof or inf)
        for level, found in kept.items()
        if found.difference is not None
        and found.standard_error is not None
        and abs(found.difference) + found.standard_error + 1 / found.standard_error < _LARGEST
    }
    left_out = tuple(level for level in levels if level not in known)
    dof = max(0, len(known) - 1)
    if dof < 1:
        return HeterogeneityTest(dimension, arm, None, dof, None, None, left_out)
    q, p_value = cochran_q(*zip(*known.values(), strict=True))
    return HeterogeneityTest(dimension, arm, q, dof, p_value, p_value, left_out)


def _corrected(effects: Sequence[LevelEffect]) -> list[LevelEffect]:
    adjusted = _adjusted([each.p_adjusted for each in effects])
    return [replace(each, p_adjusted=p) for each, p in zip(effects, adjusted, strict=True)]


def _with_holm(tests: Sequence[HeterogeneityTest]) -> tuple[HeterogeneityTest, ...]:
    adjusted = _adjusted([each.p_value for each in tests])
    return tuple(replace(each, p_adjusted=p) for each, p in zip(tests, adjusted, strict=True))


def _adjusted(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm over those that are known."""
    found = iter(holm([p for p in p_values if p is not None]))
    return [None if p is None else next(found) for p in p_values]
