"""Shares of the traffic, and the algorithms that propose them."""

from __future__ import annotations

from math import fsum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tasks.errors import ConfigurationError, UnknownName
from tasks.experiments.assignment.ranges import SLOTS, Range, first_ranges, moved_ranges
from tasks.experiments.bandits.algorithms import Standing, algorithms
from tasks.experiments.bandits.shares import capped, floored, in_slots, stepped

Floats = NDArray[np.float64]

SPLITS = st.lists(st.floats(0, 1), min_size=2, max_size=12).filter(lambda each: sum(each) > 0.01)


def _split(values: list[float]) -> Floats:
    return np.array(values) / sum(values)


def _standing(best: list[float], second: list[float], values: list[float]) -> Standing:
    none = np.zeros(len(best))
    return Standing(np.array(best), np.array(second), none, np.array(values), epsilon=0.1)


@given(SPLITS, st.floats(0, 1))
def test_a_floor_is_under_every_arm_and_keeps_the_order(values: list[float], floor: float) -> None:
    shares = _split(values)
    found = floored(shares, floor)
    assert found.sum() == pytest.approx(1)
    assert found.min() >= min(floor, 1 / len(values)) - 1e-12
    assert np.all(np.diff(found[np.argsort(shares)]) >= -1e-12)


def test_a_floor_is_added_and_the_rest_is_shared() -> None:
    assert floored(np.array([0.0, 0.2, 0.8]), 0.05).tolist() == pytest.approx([0.05, 0.22, 0.73])
    assert floored(np.array([0.0, 1.0]), 0.9).tolist() == [0.5, 0.5]


@given(SPLITS, st.data())
def test_a_capped_arm_gets_no_more_than_its_equal_share(
    values: list[float], data: st.DataObject
) -> None:
    count = len(values)
    is_capped = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    found = capped(_split(values), is_capped)
    assert found.sum() == pytest.approx(1)
    assert np.all(found[is_capped] <= 1 / count + 1e-12)
    assert np.all(found >= 0)


def test_who_is_not_capped_takes_what_is_over() -> None:
    shares = np.array([0.9, 0.04, 0.06])
    first = np.array([True, False, False])
    assert capped(shares, first) == pytest.approx([1 / 3, 4 / 15, 2 / 5])
    assert capped(shares, ~first) == pytest.approx(shares)
    assert capped(np.array([1.0, 0, 0]), first) == pytest.approx([1 / 3] * 3)
    assert capped(shares, np.array([True] * 3)) == pytest.approx([1 / 3] * 3)


@given(SPLITS, st.data(), st.floats(0.01, 1))
def test_a_step_goes_towards_the_split_that_is_wanted(
    values: list[float], data: st.DataObject, step: float
) -> None:
    count = len(values)
    others = data.draw(
        st.lists(st.floats(0, 1), min_size=count, max_size=count).filter(lambda v: sum(v) > 0.01)
    )
    held, wanted = _split(values), _split(others)
    found = stepped(held, wanted, step)
    assert found.sum() == pytest.approx(1)
    assert np.abs(found - held).max() <= step + 1e-12
    assert np.abs(wanted - found).max() <= np.abs(wanted - held).max() + 1e-12


@given(SPLITS)
def test_weights_are_whole_slots_that_add_up_to_one_exactly(values: list[float]) -> None:
    shares = _split(values)
    weights = in_slots(shares)
    assert sum(weights) == fsum(weights) == sum(reversed(weights)) == 1.0
    assert np.abs(np.array(weights) - shares).max() <= 1 / SLOTS
    assert all((weight * SLOTS).is_integer() for weight in weights)


def test_the_buckets_of_an_arm_are_exactly_its_weight() -> None:
    weights = in_slots(np.array([0.1, 0.2, 0.3, 0.4]))
    named = list(zip("abcd", weights, strict=True))
    held = first_ranges([(name, 0.25) for name in "abcd"])
    for ranges in (first_ranges(named), moved_ranges(held, named)):
        ends = [*ranges[1:], Range(1.0, "")]
        sizes = dict.fromkeys("abcd", 0.0)
        for part, end in zip(ranges, ends, strict=True):
            sizes[part.variant] += end.lower - part.lower
        assert sizes == dict(named)


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("thompson", [0.1, 0.2, 0.7]),
        ("top_two", [0.2, 0.35, 0.45]),
        # a (½ + ½ Σ a_j / (1 - a_j)) with 1/9, 1/4 and 7/3
        ("top_two_sampling", [0.1 * 43 / 24, 0.2 * 31 / 18, 0.7 * 49 / 72]),
        ("epsilon_greedy", [0.1 / 3, 0.1 / 3, 0.9 + 0.1 / 3]),
    ],
)
def test_each_algorithm_shares_as_its_definition_says(
    algorithm: str, expected: list[float]
) -> None:
    standing = _standing([0.1, 0.2, 0.7], [0.3, 0.5, 0.2], [1.0, 2.0, 3.0])
    found = algorithms.get(algorithm)(standing)
    assert found.tolist() == pytest.approx(expected)
    assert found.sum() == pytest.approx(1)


def test_arms_with_the_same_mean_share_what_the_best_gets() -> None:
    standing = _standing([0.4, 0.2, 0.4], [0.3, 0.4, 0.3], [3.0, 1.0, 3.0])
    found = algorithms.get("epsilon_greedy")(standing)
    assert found.tolist() == pytest.approx([0.45 + 0.1 / 3, 0.1 / 3, 0.45 + 0.1 / 3])


def test_an_algorithm_is_named_once_and_an_unknown_one_lists_them() -> None:
    with pytest.raises(UnknownName, match="did you mean 'thompson'"):
        algorithms.get("tompson")
    with pytest.raises(ConfigurationError, match="twice"):
        algorithms.register("thompson")(algorithms.get("thompson"))
