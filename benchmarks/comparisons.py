"""10,000 Welch comparisons on absolute differences, beside those of gbstats 0.8.0.

gbstats asks for numpy 1 and pandas 1, so it is no dependency: put it where it can be imported
(`pip install --no-deps --target DIR gbstats==0.8.0`, then `PYTHONPATH=DIR`); it runs with ours.
"""

from __future__ import annotations

import time
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.harness import Result, Unavailable, compare
from tasks.experiments.statistics.estimates import Estimates, compare_many

COUNT = 10_000
_EXACT = 1e-9  # equal numbers: relative, of differences, ends and p-values
_LEAST_P = 1e-6  # below this gbstats' 1 - cdf has too few digits left to compare


def ten_thousand_comparisons() -> Result:
    """Ours in one call; theirs one by one, as they offer it. Nothing that is prepared counts."""
    if find_spec("gbstats") is None:
        raise Unavailable("gbstats is not installed: its pins (numpy<2, pandas<2) exclude ours")
    control, treatment = _arms(1), _arms(2)
    tests = _gbstats_tests(control, treatment)

    def ours() -> float:
        started = time.perf_counter()
        compare_many(control, treatment)
        return time.perf_counter() - started

    def theirs() -> float:
        started = time.perf_counter()
        for test in tests:
            test.compute_result()
        return time.perf_counter() - started

    apart = _furthest_apart(compare_many(control, treatment), tests)
    if apart > _EXACT:
        raise AssertionError(f"the numbers differ by {apart:.2g}, relatively")
    return compare(
        "10000-welch-comparisons", ours, theirs, bar=1 / 20, pairs=5, largest_difference=apart
    )


def _arms(seed: int) -> Estimates:
    rng = np.random.default_rng(seed)
    n = rng.integers(50, 100_000, COUNT).astype(float)
    return Estimates(n, rng.normal(10, 0.3, COUNT), rng.uniform(1, 40, COUNT))


def _gbstats_tests(control: Estimates, treatment: Estimates) -> list[Any]:
    statistics = import_module("gbstats.models.statistics")
    tests = import_module("gbstats.frequentist.tests")
    config = tests.FrequentistConfig(difference_type="absolute")
    arms = [
        [
            statistics.SampleMeanStatistic(
                n=int(n), sum=n * value, sum_squares=variance * (n - 1) + n * value**2
            )
            for n, value, variance in zip(arm.n, arm.value, arm.variance, strict=True)
        ]
        for arm in (control, treatment)
    ]
    return [tests.TwoSidedTTest(*pair, config) for pair in zip(*arms, strict=True)]


def _furthest_apart(found: Any, tests: list[Any]) -> float:
    results = [test.compute_result() for test in tests]
    theirs = np.array([[r.expected, r.ci[0], r.ci[1], r.p_value] for r in results])
    mine = np.column_stack((found.difference, found.lower, found.upper, found.p_value))
    scale = np.maximum(np.abs(theirs), found.standard_error[:, None])
    apart = np.abs(mine - theirs) / scale
    known = theirs[:, 3] > _LEAST_P
    p_apart = np.abs(mine[known, 3] / theirs[known, 3] - 1).max()
    return float(max(apart[:, :3].max(), p_apart))
