"""Ranges of the bucket, and the order of the conditions that give a unit its arm."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from tasks.bucketing import bucket
from tasks.errors import InputError
from tasks.experiments.assignment.choosing import (
    Enrolment,
    choose,
    salt_of,
    traffic_salt_of,
)
from tasks.experiments.assignment.ranges import (
    SLOTS,
    Range,
    first_ranges,
    moved_ranges,
    variant_at,
)
from tasks.experiments.assignment.targeting import TargetRule

UNITS = [f"user-{number}" for number in range(40_000)]
arms = st.lists(
    st.one_of(st.just(0.0), st.just(-0.0), st.floats(1e-12, 1)), min_size=1, max_size=6
).filter(any)


def named(weights: list[float]) -> list[tuple[str, float]]:
    return [(f"v{number}", weight) for number, weight in enumerate(weights)]


def shares(ranges: tuple[Range, ...]) -> dict[str, float]:
    edges = [each.lower for each in ranges] + [1.0]
    held: Counter[str] = Counter()
    for place, each in enumerate(ranges):
        held[each.variant] += int((edges[place + 1] - edges[place]) * SLOTS)
    return {variant: slots / SLOTS for variant, slots in held.items()}


@given(arms)
def test_ranges_cover_everything_once_in_the_shares_of_the_weights(weights: list[float]) -> None:
    ranges = first_ranges(named(weights))
    assert ranges[0].lower == 0
    assert [each.lower for each in ranges] == sorted({each.lower for each in ranges})
    assert all(each.lower * SLOTS == int(each.lower * SLOTS) for each in ranges)
    for name, weight in named(weights):
        assert shares(ranges).get(name, 0) == pytest.approx(weight / sum(weights), abs=2 / SLOTS)
        assert weight or name not in shares(ranges)


@given(st.lists(arms, min_size=2, max_size=5))
def test_a_change_moves_no_more_than_the_weights_say(changes: list[list[float]]) -> None:
    held = first_ranges(named(changes[0]))
    for weights in changes[1:]:
        moved = moved_ranges(held, named(weights))
        before, after = shares(held), shares(moved)
        assert after == shares(first_ranges(named(weights)))
        edges = sorted({each.lower for each in (*held, *moved)} | {1.0})
        changed = sum(
            end - start
            for start, end in pairwise(edges)
            if variant_at(held, start) != variant_at(moved, start)
        )
        gained = sum(max(0.0, after.get(name, 0) - before.get(name, 0)) for name in after)
        assert changed == gained  # exact: both are whole slots
        held = moved


def test_an_arm_that_grows_keeps_its_buckets() -> None:
    before = first_ranges([("a", 1 / 3), ("b", 1 / 3), ("c", 1 / 3)])
    after = moved_ranges(before, [("a", 0.5), ("b", 0.25), ("c", 0.25)])
    for unit in UNITS[:2000]:
        place = bucket("salt", unit)
        if variant_at(before, place) == "a":
            assert variant_at(after, place) == "a"
        if variant_at(after, place) != "a":
            assert variant_at(before, place) == variant_at(after, place)


def test_the_same_weights_change_nothing_and_an_arm_at_zero_gets_nobody() -> None:
    weights = [("a", 0.5), ("b", 0.3), ("c", 0.2)]
    ranges = first_ranges(weights)
    assert moved_ranges(ranges, weights) == ranges
    without = moved_ranges(ranges, [("a", 0.5), ("b", 0.5), ("c", 0.0)])
    assert {variant_at(without, bucket("s", unit)) for unit in UNITS[:2000]} == {"a", "b"}


@pytest.mark.parametrize("place", [0.0, 0.5 - 2**-32, 0.5, 1 - 2**-32])
def test_the_edges_of_a_range_belong_to_one_arm(place: float) -> None:
    ranges = first_ranges([("a", 0.5), ("b", 0.5)])
    assert variant_at(ranges, place) == ("a" if place < 0.5 else "b")


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -0.1])
def test_a_weight_that_is_no_share_is_refused(weight: float) -> None:
    with pytest.raises(InputError, match="weights are positive"):
        first_ranges([("a", 0.5), ("b", weight)])


def enrolment(**changes: Any) -> Enrolment:
    fields: dict[str, Any] = {
        "experiment": "buttons",
        "is_active": True,
        "ranges": first_ranges([("control", 0.5), ("red", 0.5)]),
    }
    return Enrolment.model_validate(fields | changes)


RULE = TargetRule(attribute="country", op="eq", value="DE")


@pytest.mark.parametrize(
    ("changes", "attributes", "why"),
    [
        ({}, {}, "allocated"),
        ({"target_rules": [RULE]}, {"country": "DE"}, "allocated"),
        ({"target_rules": [RULE]}, {"country": "AT"}, "not-targeted"),
        ({"traffic_fraction": 0.0}, {}, "outside-traffic"),
        ({"is_active": False}, {}, "not-active"),
        ({"is_active": False, "assigned": "red"}, {}, "assigned"),
        ({"target_rules": [RULE], "assigned": "red"}, {}, "assigned"),
        ({"traffic_fraction": 0.0, "override": "red"}, {}, "override"),
        ({"is_active": False, "override": "red", "assigned": "control"}, {}, "override"),
    ],
)
def test_the_first_condition_that_applies_decides(
    changes: dict[str, Any], attributes: dict[str, Any], why: str
) -> None:
    choice = choose("u1", enrolment(**changes), attributes)
    assert choice.why == why
    assert (choice.variant is None) == (why in {"not-targeted", "outside-traffic", "not-active"})
    if why in {"assigned", "override"}:
        assert choice.variant == "red"


def test_more_traffic_lets_more_in_and_puts_nobody_out() -> None:
    taking_part = [
        {
            unit
            for unit in UNITS[:4000]
            if choose(unit, enrolment(traffic_fraction=fraction), {}).variant
        }
        for fraction in (0.1, 0.3, 1.0)
    ]
    assert taking_part[0] < taking_part[1] < taking_part[2] == set(UNITS[:4000])
    assert len(taking_part[0]) / 4000 == pytest.approx(0.1, abs=0.02)


SPLIT = first_ranges([("a", 0.5), ("b", 0.3), ("c", 0.2)])


def test_two_experiments_are_independent() -> None:
    pairs = Counter(
        tuple(variant_at(SPLIT, bucket(salt_of(name), unit)) for name in ("buttons", "prices"))
        for unit in UNITS
    )
    assert independence(pairs, "abc", "abc") > 0.001


def test_who_takes_part_says_nothing_about_the_arm() -> None:
    pairs = Counter(
        (
            bucket(traffic_salt_of("buttons"), unit) < 0.2,
            variant_at(SPLIT, bucket(salt_of("buttons"), unit)),
        )
        for unit in UNITS
    )
    assert independence(pairs, (True, False), "abc") > 0.001


def independence(pairs: Counter[Any], rows: Any, columns: Any) -> float:
    """p-value of the chi-square test of independence; units are fixed, so it never varies."""
    table = [[pairs[row, column] for column in columns] for row in rows]
    return float(chi2_contingency(table).pvalue)


@pytest.mark.parametrize("unit", ["", "x" * 256])
def test_a_unit_has_1_to_255_characters(unit: str) -> None:
    with pytest.raises(InputError, match="1 to 255 characters"):
        choose(unit, enrolment(), {})


@pytest.mark.parametrize("unit", [7, "a\0b", "\ud800"])
def test_what_postgres_cannot_hold_is_no_unit(unit: Any) -> None:
    with pytest.raises(InputError, match="unit must"):
        choose(unit, enrolment(), {})
