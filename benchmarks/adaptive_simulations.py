"""Bandits and factorial designs, drawn and judged: `python -m benchmarks.adaptive_simulations`.

JSON lines; exits with 1 if one misses its bar. Is the effect right where the mood changes while the
traffic follows the evidence? How often is an arm called different where none is? How often does a
factorial design without effects show one?
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from math import inf, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from benchmarks.adaptive_courses import Course, World, draw
from tasks.experiments.decision.methods.anytime import anytime_reach
from tasks.experiments.statistics.estimates import of_mean
from tasks.experiments.statistics.factorial import FactorialEffects, factorial_effects
from tasks.experiments.statistics.factorial_designs import (
    Design,
    Factor,
    fractional_factorial,
    full_factorial,
)
from tasks.experiments.statistics.moments import SampleMean
from tasks.experiments.statistics.sequential import group_sequential_bounds

Floats = NDArray[np.float64]

ALPHA = 0.05
RUNS = 1_000
SEED = 20261121
METHODS = "group_sequential", "confidence_sequence", "fixed"
LEAST_POOLED_BIAS, MOST_BIAS = 5.0, 2.0  # standard errors


@dataclass(frozen=True)
class Bias:
    """Mean estimate less the truth in its standard errors; coverage of 95 % intervals."""

    pooled: float
    stratified: float
    coverage: float
    coverage_error: float


def bias(world: World, runs: int, seed: int) -> Bias:
    """How far off the last arm's effect is, pooled and stratified."""
    course, truth = draw(world, runs, seed, looks=1), world.rates[-1] - world.rates[0]
    found = [course.stratified(run).effect for run in range(runs)]
    effects = np.array([each.difference for each in found], dtype=float)
    ends = np.array([(each.lower, each.upper) for each in found], dtype=float)
    covered = float(((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean())
    return Bias(
        in_errors(course.pooled - truth),
        in_errors(effects - truth),
        covered,
        sqrt(covered * (1 - covered) / runs),
    )


def false_found(course: Course, method: str) -> float:
    """Share of runs in which some arm is found different, whichever way, with Holm over arms.

    "fixed" looks once, at the end; "significant" at every look, without a bound.
    """
    reached = np.abs(np.nan_to_num(course.z)) >= _bounds(course, method)[:, None]
    return float(reached.any(axis=(1, 2)).mean())


def factorial_errors(design: Design, per_cell: int, runs: int, seed: int) -> tuple[float, float]:
    """Share of runs without effects that show one: main effects, interactions."""
    rng = np.random.default_rng(seed)
    found = np.zeros(2)
    for _ in range(runs):
        units = rng.integers(per_cell // 2, 2 * per_cell, len(design.cells))
        cells = {
            cell: of_mean(_normal_cell(rng, int(n)))
            for cell, n in zip(design.cells, units, strict=True)
        }
        found += _shown(factorial_effects(cells, design))
    shares = (found / runs).tolist()
    return shares[0], shares[1]


def most_errors(runs: int) -> float:
    """Alpha and two standard errors of the simulation."""
    return ALPHA + 2 * sqrt(ALPHA * (1 - ALPHA) / runs)


def _shown(effects: FactorialEffects) -> list[bool]:
    return [
        any(each.p_adjusted is not None and each.p_adjusted <= ALPHA for each in family)
        for family in (effects.main, effects.interactions)
    ]


def _normal_cell(rng: np.random.Generator, n: int) -> SampleMean:
    return SampleMean(n, float(rng.normal(5.0, 2 / sqrt(n))), float(4 * rng.chisquare(n - 1)))


def in_errors(gaps: Floats) -> float:
    return float(gaps.mean() / (gaps.std(ddof=1) / sqrt(len(gaps))))


def _bounds(course: Course, method: str) -> Floats:
    """What |z| has to reach at each look, at the level of Holm's first step."""
    arms, looks = len(course.world.rates), len(course.fractions)
    level = ALPHA / (arms - 1)
    if method == "group_sequential":
        found = group_sequential_bounds(course.fractions.tolist(), level)
        return np.array([inf if bound.z is None else bound.z for bound in found])
    if method == "confidence_sequence":
        # Its clock is the traffic: the pair's planned share of what has come.
        planned = course.world.planned_units * 2 / arms
        units = np.round(course.fractions * planned).astype(int).tolist()
        return np.array([anytime_reach(n, level, (ALPHA, planned)) for n in units])
    quantile = -float(special.ndtri(level / 2))
    return np.array([inf if method == "fixed" else quantile] * (looks - 1) + [quantile])


def _cases() -> Iterator[dict[str, Any]]:
    """Every case, with whether it keeps its bar."""
    rise = 1.0
    for rates in ((0.05, 0.06), (0.05,) * 4 + (0.06,)):
        found = bias(World(rates, rise), RUNS, SEED)
        is_within = abs(found.pooled) > LEAST_POOLED_BIAS and abs(found.stratified) <= MOST_BIAS
        yield {"rates": rates, "rise": rise, **asdict(found), "is_within_bar": is_within}
    for arms, rise in ((2, 0.0), (5, 0.0), (2, 1.0), (5, 1.0)):
        course = draw(World((0.05,) * arms, rise), RUNS, SEED, looks=336)
        for method in METHODS:
            rate = false_found(course, method)
            is_within = rate <= most_errors(RUNS)
            yield {"arms": arms, "rise": rise, "method": method, "found": rate} | {
                "is_within_bar": is_within
            }
    for name, design in designs():
        main, interactions = factorial_errors(design, 200, RUNS, SEED)
        is_within = max(main, interactions) <= most_errors(RUNS)
        yield {"design": name, "main": main, "interactions": interactions} | {
            "is_within_bar": is_within
        }


def designs() -> Iterator[tuple[str, Design]]:
    """The designs whose error is drawn."""
    two = [Factor(name, ("off", "on")) for name in "abcd"]
    yield "2 x 2 x 2", full_factorial(two[:3])
    yield (
        "2 x 3 x 4",
        full_factorial([two[0], Factor("b", ("x", "y", "z")), Factor("c", tuple("wxyz"))]),
    )
    yield "2^(4-1)", fractional_factorial(two, ["D=ABC"])


def show(cases: Iterable[dict[str, Any]]) -> int:
    """Print every case; 1 if one misses its bar."""
    is_held = True
    for case in cases:
        is_held &= case["is_within_bar"]
        print(json.dumps(case), flush=True)
    return 0 if is_held else 1


if __name__ == "__main__":
    sys.exit(show(_cases()))
