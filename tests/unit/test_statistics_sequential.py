from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tasks.experiments.statistics.sequential import (
    group_sequential_bounds,
    has_crossed,
    sequential_p_value,
)


def _z(fractions: list[float], alpha: float = 0.05, rho: float = 2.0) -> list[float | None]:
    return [bound.z for bound in group_sequential_bounds(fractions, alpha, rho)]


def test_four_equal_looks_have_the_published_bounds() -> None:
    assert _z([0.25, 0.5, 0.75, 1.0]) == pytest.approx([2.955, 2.559, 2.301, 2.092], abs=5e-4)


def test_a_single_look_at_the_end_is_the_fixed_test() -> None:
    assert _z([1.0]) == pytest.approx([1.959964], abs=1e-6)


@pytest.mark.parametrize(
    ("fractions", "without_bound"),
    [
        ([0.0, 0.5, 1.0], {0}),
        ([0.5, 0.5, 1.0], {1}),
        ([0.5, 0.4, 1.0], {1}),
        ([0.5, 0.5 + 1e-6, 1.0], {1}),
        ([0.5, 1.0, 1.0], {2}),
        ([0.5, 1.0, 1.7], {2}),
        ([1e-9, 0.9], {0}),
    ],
    ids=["nothing", "repeated", "fewer", "hardly more", "after the end", "overrun", "tiny"],
)
def test_a_look_without_new_information_has_no_bound(
    fractions: list[float], without_bound: set[int]
) -> None:
    bounds = group_sequential_bounds(fractions, 0.05)
    assert {index for index, bound in enumerate(bounds) if bound.z is None} == without_bound
    assert bounds[-1].alpha_spent <= 0.05


def test_what_a_passed_over_look_left_is_spent_by_the_next() -> None:
    with_gap = group_sequential_bounds([0.5, 0.5001, 0.8], 0.05)
    without = group_sequential_bounds([0.5, 0.8], 0.05)
    assert with_gap[-1] == without[-1]


def test_an_overrun_spends_what_is_left_at_the_real_information() -> None:
    bounds = group_sequential_bounds([0.5, 1.3], 0.05)
    assert bounds[-1].alpha_spent == 0.05
    # Less correlated with the first look than at fraction 1, so a little further out.
    assert bounds[-1].z == pytest.approx(2.0, abs=0.05)
    assert (bounds[-1].z or 0) > (group_sequential_bounds([0.5, 1.0], 0.05)[-1].z or 0)


@pytest.mark.parametrize("count", [50, 336, 2000])
def test_many_looks_have_falling_bounds(count: int) -> None:
    bounds = _z([(number + 1) / count for number in range(count)])
    known = [z for z in bounds if z is not None]
    assert len(known) >= min(count, 250)
    assert all(later <= earlier + 1e-6 for earlier, later in pairwise(known[2:]))
    assert known[-1] == pytest.approx(2.31, abs=0.12)


def test_the_bounds_are_crossed_as_often_as_alpha_says_by_simulated_paths() -> None:
    fractions = [0.1, 0.13, 0.4, 0.41, 0.77, 1.0]
    bounds = np.array(_z(fractions, 0.05))
    rng = np.random.default_rng(20261120)
    steps = np.diff(fractions, prepend=0.0)
    paths = np.cumsum(rng.normal(size=(200_000, len(steps))) * np.sqrt(steps), axis=1)
    crossed = (np.abs(paths / np.sqrt(fractions)) >= bounds).any(axis=1).mean()
    error = np.sqrt(0.05 * 0.95 / 200_000)
    assert crossed == pytest.approx(0.05, abs=4 * error)


def test_the_sequential_p_value_is_alpha_exactly_on_the_bound() -> None:
    fractions = [0.25, 0.5, 0.75, 1.0]
    for index, z in enumerate(_z(fractions)):
        deviates = [0.0] * 4
        deviates[index] = -(z or 0.0)
        assert sequential_p_value(fractions, deviates) == pytest.approx(0.05, rel=2e-3)


def test_the_sequential_p_value_never_grows_with_another_look() -> None:
    fractions, deviates = [0.25, 0.5, 0.75, 1.0], [2.6, 1.0, 0.5, 0.1]
    p_values = [sequential_p_value(fractions[:n], deviates[:n]) for n in (1, 2, 3, 4)]
    assert all(later <= earlier * 1.001 for earlier, later in pairwise(p_values))
    assert sequential_p_value([], []) == 1.0
    assert sequential_p_value([0.5], [None]) == 1.0
    assert sequential_p_value([0.5], [40.0]) < 1e-10


def test_an_undefined_deviate_crosses_nothing() -> None:
    bounds = group_sequential_bounds([0.5, 1.0], 0.05)
    assert has_crossed(bounds, [None, None]) is None
    assert has_crossed(bounds, [9.0, 0.0]) == 0
