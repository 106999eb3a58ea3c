"""Folding: how events become one value a unit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine

from tasks.experiments.folding.folding import fold
from tests.database.folding import World, is_right, moments_by_numpy

ARM = ("control", "", "")


@pytest.fixture
def world(database: Engine) -> Iterator[World]:
    with database.connect() as connection, connection.begin():
        made = World(connection)
        made.clock(hours=48)
        yield made


@pytest.mark.parametrize(
    ("aggregation", "value"),
    [
        ("sum", 12.0),
        ("mean", 4.0),
        ("min", 2.0),
        ("max", 7.0),
        ("first", 3.0),
        ("last", 2.0),
        ("count", 4.0),
        ("any", 1.0),
    ],
)
def test_events_become_one_value_a_unit(world: World, aggregation: str, value: float) -> None:
    world.metric(aggregation=aggregation, kind="mean")
    world.unit("ann")
    for hours, spent in ((3, 7.0), (1, 3.0), (4, 2.0), (2, None)):
        world.event("ann", spent, hours=hours)
    world.event("ann", 100.0, event_type="other")
    fold(world.tx, [world.id])
    assert world.values()["ann"]["value"] == value
    assert world.values()["ann"]["events"] == 4
    assert is_right(world)


@pytest.mark.parametrize(
    ("missing", "value", "n"), [("exclude", None, 0), ("zero", 0.0, 1)], ids=["exclude", "zero"]
)
def test_a_unit_without_events_is_left_out_or_counts_as_zero(
    world: World, missing: str, value: float | None, n: int
) -> None:
    world.metric(missing=missing)
    world.unit("ann")
    fold(world.tx, [world.id])
    assert world.values()["ann"]["value"] == value
    assert (world.moments()[ARM]["assigned"], world.moments()[ARM]["n"]) == (1, n)
    assert is_right(world)


def test_a_ratio_is_of_units_that_have_a_denominator(world: World) -> None:
    world.metric(kind="ratio", denominator_event_type="view", denominator_aggregation="count")
    pairs = {"ann": (2, 3), "bob": (0, 4), "eve": (1, 1), "dan": (5, 0)}
    for user, (clicks, views) in pairs.items():
        world.unit(user)
        for _ in range(clicks):
            world.event(user, 1.0)
        for _ in range(views):
            world.event(user, None, event_type="view")
    fold(world.tx, [world.id])
    found = world.moments()[ARM]
    assert (found["assigned"], found["n"]) == (4, 3)
    expected = moments_by_numpy([2, 0, 1], denominators=[3, 4, 1])
    assert found == pytest.approx(found | expected, rel=1e-12)
    assert is_right(world)


def test_a_unit_counts_once_its_window_is_over(world: World) -> None:
    world.metric(window_start_hours=1, window_hours=24, missing="zero")
    world.unit("ann", hours=0)
    world.unit("bob", hours=30)
    for hours in (0.5, 1, 23.9, 24, 31):
        world.event("ann", 1.0, hours=hours)
        world.event("bob", 1.0, hours=30 + hours)
    fold(world.tx, [world.id])
    assert world.values()["ann"]["value"] == 2.0
    assert world.values()["bob"]["value"] is None
    assert (world.moments()[ARM]["assigned"], world.moments()[ARM]["n"]) == (2, 1)
    assert is_right(world)
    world.clock(hours=54)
    (summary,) = fold(world.tx, [world.id])
    assert (summary.is_full, summary.units) == (False, 1)
    assert (world.moments()[ARM]["n"], world.moments()[ARM]["mean"]) == (2, 2.0)
    assert is_right(world)


def test_retention_is_whether_a_unit_came_back_in_its_window(world: World) -> None:
    world.metric(kind="retention", event_type="visit", window_start_hours=24, window_hours=36)
    for user, hours in (("ann", 25), ("bob", 23), ("eve", 36)):
        world.unit(user)
        world.event(user, None, hours=hours, event_type="visit")
    fold(world.tx, [world.id])
    assert {user: row["value"] for user, row in world.values().items()} == {
        "ann": 1.0,
        "bob": 0.0,
        "eve": 0.0,
    }
    assert is_right(world)


def test_values_are_cut_to_a_cap_that_holds_for_a_day(world: World) -> None:
    world.metric(cap_quantile=0.9)
    for number in range(11):
        world.unit(f"u{number}")
        world.event(f"u{number}", float(number))
    fold(world.tx, [world.id])
    assert world.moments()[ARM]["mean"] == pytest.approx((sum(range(10)) + 9) / 11)
    assert world.values()["u10"]["value"] == 10.0
    world.unit("rich")
    world.event("rich", 1e6)
    fold(world.tx, [world.id])
    assert world.moments()[ARM]["mean"] == pytest.approx((sum(range(10)) + 9 + 9) / 12)
    assert is_right(world)
    world.clock(hours=72)
    fold(world.tx, [world.id])
    assert world.moments()[ARM]["mean"] == pytest.approx((sum(range(10)) + 9.9 + 9.9) / 12)
    assert is_right(world)


def test_a_cap_of_mostly_zeros_is_one_of_the_others(world: World) -> None:
    world.metric(cap_quantile=0.6, missing="zero")
    for number in range(10):
        world.unit(f"u{number}")
    for number in (1, 2):
        world.event(f"u{number}", 10.0 * number)
    fold(world.tx, [world.id])
    assert world.moments()[ARM]["mean"] == pytest.approx((10 + 16) / 10)


def test_a_covariate_is_what_happened_before_the_assignment(world: World) -> None:
    world.metric(covariate_days=2, missing="zero")
    before, after = [3.0, 0.0, 5.0], [4.0, 1.0, 9.0]
    for number, (early, late) in enumerate(zip(before, after, strict=True)):
        world.unit(f"u{number}", hours=10)
        world.event(f"u{number}", late, hours=11)
        world.event(f"u{number}", 100.0, hours=-39)
        if early:
            world.event(f"u{number}", early, hours=-37)
    fold(world.tx, [world.id])
    found = world.moments()[ARM]
    expected = moments_by_numpy(after, covariates=before)
    assert found == pytest.approx(found | expected, rel=1e-12)
    assert is_right(world)


@pytest.mark.parametrize(
    ("known", "covariate"),
    [(12.5, 12.5), ("7", 7.0), (True, 1.0), ("much", 0.0), (None, 0.0), ([3], 0.0)],
)
def test_a_covariate_may_be_an_attribute(world: World, known: Any, covariate: float) -> None:
    world.metric(covariate_attribute="age", missing="zero")
    world.unit("ann", metadata={"age": known})
    world.unit("bob")
    world.say(
        "UPDATE ab_assignments SET metadata = '{\"age\": 1e400}' WHERE id = :unit",
        unit=world.units["bob"],
    )
    fold(world.tx, [world.id])
    assert {user: row["covariate"] for user, row in world.values().items()} == {
        "ann": covariate,
        "bob": 0.0,
    }
    assert is_right(world)
