"""Folding: the moments of the units' values."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from tasks.experiments.folding.folding import fold
from tasks.experiments.folding.reading import order_statistics
from tasks.experiments.statistics.quantiles import quantile_ranks
from tests.database.folding import World, is_right, moments_by_numpy

ARM = ("control", "", "")


@pytest.fixture
def world(database: Engine) -> Iterator[World]:
    with database.connect() as connection, connection.begin():
        made = World(connection)
        made.clock(hours=48)
        yield made


def test_moments_are_those_of_numpy_arm_by_arm(world: World) -> None:
    world.metric(missing="zero")
    spent: dict[str, list[float]] = {"control": [], "red": []}
    for number in range(40):
        arm = ("control", "red")[number % 3 == 0]
        world.unit(f"u{number}", arm)
        events = [(number * 7 + i) % 11 + i / 3 + 1 for i in range(number % 4)]
        for value in events:
            world.event(f"u{number}", value)
        spent[arm].append(sum(events))
    (summary,) = fold(world.tx, [world.id])
    assert (summary.is_full, summary.units, summary.left_out) == (True, 40, 0)
    for arm, values in spent.items():
        found = world.moments()[(arm, "", "")]
        assert found == pytest.approx(found | moments_by_numpy(values), rel=1e-12)
        assert found["converted"] == sum(value > 0 for value in values)
        assert world.moments()[(arm, "epoch", "1")] == pytest.approx(found, rel=1e-12)
    assert is_right(world)


def test_every_arm_has_a_row_also_one_that_nobody_came_to(world: World) -> None:
    world.metric()
    fold(world.tx, [world.id])
    assert set(world.moments()) == {ARM, ("red", "", "")}
    assert set(world.moments()[ARM].values()) == {0}


def test_each_level_of_a_dimension_has_its_moments(database: Engine) -> None:
    with database.connect() as connection, connection.begin():
        world = World(connection, dimensions=["plan", "epoch"])
        world.metric(missing="zero")
        world.unit("ann", metadata={"plan": "free"}, epoch=None)
        world.unit("bob", metadata={"plan": "paid"}, epoch=2)
        world.unit("eve")
        world.event("bob", 4.0)
        fold(world.tx, [world.id])
        found = {key: row["assigned"] for key, row in world.moments().items() if key[1]}
        assert found == {
            ("control", "plan", "free"): 1,
            ("control", "plan", "paid"): 1,
            ("control", "plan", "(none)"): 1,
            ("control", "epoch", "1"): 2,
            ("control", "epoch", "2"): 1,
        }
        assert world.moments()[("control", "plan", "paid")]["mean"] == 4.0
        assert is_right(world)


def test_of_many_levels_the_fifty_largest_stand_alone(database: Engine) -> None:
    with database.connect() as connection, connection.begin():
        world = World(connection, dimensions=["city"])
        world.metric(missing="zero")
        for number in range(55):
            for twin in range(1 + (number < 50)):
                world.unit(f"u{number}-{twin}", metadata={"city": f"c{number:02}" + "x" * 5000})
        fold(world.tx, [world.id])
        levels = {key[2]: row for key, row in world.moments().items() if key[1] == "city"}
        assert len(levels) == 51
        assert levels["(other)"]["assigned"] == 5
        world.unit("new", metadata={"city": "elsewhere"})
        fold(world.tx, [world.id])
        assert world.moments()[("control", "city", "(other)")]["assigned"] == 6
        assert is_right(world)


def test_units_whose_arm_a_person_chose_are_left_out(world: World) -> None:
    world.metric(missing="zero")
    world.unit("ann")
    world.unit("bob", is_override=True)
    fold(world.tx, [world.id])
    assert world.moments()[ARM]["assigned"] == 1
    world.say(
        "UPDATE ab_assignments SET is_override = true WHERE id = :unit", unit=world.units["ann"]
    )
    world.touch("ann")
    fold(world.tx, [world.id])
    assert world.moments()[ARM]["assigned"] == 0
    assert world.values() == {}
    assert is_right(world)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e200])
def test_what_is_not_finite_is_left_out_and_counted(world: World, value: float) -> None:
    world.metric(aggregation="sum")
    world.unit("ann")
    world.event("ann", 3.0)
    world.event("ann", value)
    world.unit("bob")
    world.event("bob", value)
    (summary,) = fold(world.tx, [world.id])
    assert summary.left_out == 2
    assert world.values()["ann"]["value"] == 3.0
    assert world.values()["bob"]["value"] is None
    assert is_right(world)


@pytest.mark.parametrize("size", [1e-300, 1e-155, 1e-139, 1e100, 1e139])
def test_numbers_of_any_size_fold_without_an_error(world: World, size: float) -> None:
    world.metric(missing="zero", covariate_days=1)
    for number in range(6):
        world.unit(f"u{number}")
        world.event(f"u{number}", size * (number - 2.5))
        world.event(f"u{number}", size * number, hours=-1)
    fold(world.tx, [world.id])
    for number in range(3):
        world.event(f"u{number}", size / 3)
        fold(world.tx, [world.id])
    assert is_right(world)


def test_large_values_keep_their_variance_also_when_they_change(world: World) -> None:
    world.metric()
    values = [1e9 + number % 3 for number in range(99)]
    events = {}
    for number, value in enumerate(values):
        world.unit(f"u{number}")
        events[number] = world.event(f"u{number}", value)
    fold(world.tx, [world.id])
    assert world.moments()[ARM]["m2"] == pytest.approx(66.0, rel=1e-9)
    world.correct("u0", events[0], 1e9 + 2)
    fold(world.tx, [world.id])
    values[0] = 1e9 + 2
    assert world.moments()[ARM]["m2"] == pytest.approx(moments_by_numpy(values)["m2"], rel=1e-9)
    assert is_right(world)


def test_an_outlier_that_is_corrected_leaves_no_trace(world: World) -> None:
    world.metric()
    for number in range(20):
        world.unit(f"u{number}")
        event = world.event(f"u{number}", 5.0)
    world.correct("u19", event, 1e15)
    fold(world.tx, [world.id])
    world.correct("u19", event, 5.0)
    fold(world.tx, [world.id])
    assert world.moments()[ARM] | {"mean": 5.0, "m2": 0.0} == world.moments()[ARM]


def test_order_statistics_are_the_values_at_the_ranks(world: World) -> None:
    metric = world.metric(kind="quantile", quantile=0.9)
    for number in range(100):
        world.unit(f"u{number}")
        world.event(f"u{number}", float(number * 37 % 100))
    fold(world.tx, [world.id])
    found = order_statistics(world.tx, world.id, metric, 0.9)[world.arms["control"]]
    lower, upper = quantile_ranks(100, 0.9) or (0, 0)
    assert found.n == 100
    assert found.value == pytest.approx(89.1)
    assert (found.lower, found.upper) == (lower - 1, upper - 1)


def test_statistics_of_somebody_else_are_copied_as_last_seen_of_all_arms(world: World) -> None:
    metric = world.metric(kind="proportion", aggregation="any", missing="zero")
    told = [("control", 1, 100, 0.1), ("control", 40, 200, 0.2), ("control", 60, 300, 0.3)]
    told += [("red", 1, 110, 0.1), ("red", 40, 210, 0.1), ("control", 45, 250, 0.2)]
    for arm, hours, n, mean in told:
        world.say(
            "INSERT INTO aggregate_statistic (experiment_id, metric_id, variant_id, observed_at, "
            "assigned, n, mean, m2, source) VALUES (:id, :metric, :arm, "
            "CAST(:at AS timestamptz) + make_interval(hours => :hours), :n, :n, :mean, 5, 's')",
            metric=metric,
            arm=world.arms[arm],
            hours=hours,
            n=n,
            mean=mean,
        )
    fold(world.tx, [world.id])
    found = world.moments()[ARM]
    assert (found["assigned"], found["n"], found["mean"], found["converted"]) == (200, 200, 0.2, 40)
    assert world.moments()[("red", "", "")]["n"] == 210
    assert is_right(world)
    world.unit("ann")
    fold(world.tx, [world.id])
    found = world.moments()[ARM]
    assert (found["assigned"], found["n"], found["mean"]) == (1, 1, 0.0)
    assert world.moments()[("red", "", "")]["n"] == 0
    assert is_right(world)


def test_a_metric_that_changes_or_comes_later_is_folded_in_full(world: World) -> None:
    world.metric(missing="zero")
    world.unit("ann")
    world.event("ann", 2.0)
    fold(world.tx, [world.id])
    world.metric("orders", kind="count", aggregation="count", missing="zero")
    world.say("UPDATE metric SET aggregation = 'count' WHERE name = 'spend'")
    (summary,) = fold(world.tx, [world.id])
    assert (summary.is_full, summary.units) == (True, 2)
    assert world.moments()[ARM]["mean"] == world.moments("orders")[ARM]["mean"] == 1.0
    world.say("UPDATE experiment_plan SET dimensions = '{plan}' WHERE experiment_id = :id")
    fold(world.tx, [world.id])
    assert ("control", "plan", "(none)") in world.moments()
    world.say(
        "DELETE FROM experiment_metric WHERE metric_id = :metric", metric=world.metrics["orders"]
    )
    world.event("ann", 2.0)
    fold(world.tx, [world.id])
    world.say(
        "INSERT INTO experiment_metric (experiment_id, metric_id, role, planned_sample_size) "
        "VALUES (:id, :metric, 'secondary', 10)",
        metric=world.metrics["orders"],
    )
    fold(world.tx, [world.id])
    assert world.moments("orders")[ARM]["mean"] == 2.0
    assert is_right(world)
