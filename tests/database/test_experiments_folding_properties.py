"""Whatever is loaded, corrected, late or over: folded step by step is folded at once."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from tasks.experiments.folding.folding import fold
from tasks.experiments.folding.recomputing import recompute
from tests.database.folding import World

METRICS: tuple[dict[str, Any], ...] = (
    {"aggregation": "sum", "cap_quantile": 0.8},
    {"aggregation": "last", "covariate_attribute": "age"},
    {"kind": "retention", "window_start_hours": 2, "window_hours": 30},
    {"aggregation": "mean", "window_hours": 24, "covariate_days": 1, "missing": "zero"},
    {
        "kind": "ratio",
        "aggregation": "sum",
        "denominator_event_type": "view",
        "denominator_aggregation": "count",
        "window_hours": 20,
    },
)
USERS = st.integers(0, 7).map("u{}".format)
VALUES = st.one_of(
    st.sampled_from([0.0, 1.0, 1e9, 1e9 + 1, -3.5, 1e-9, float("nan"), 1e300]),
    st.floats(-100, 100, width=32),
    st.none(),
)
HOURS = st.floats(-30, 60, width=32)
MOVES = st.one_of(
    st.tuples(st.just("unit"), USERS, st.sampled_from(["control", "red"]), st.floats(0, 50)),
    st.tuples(st.just("event"), USERS, VALUES, HOURS, st.sampled_from(["buy", "buy", "view"])),
    st.tuples(st.just("correct"), st.integers(0, 30), st.floats(-1e6, 1e6)),
    st.tuples(st.just("override"), USERS),
    st.tuples(st.just("clock"), st.floats(0, 40)),
    st.tuples(st.just("dimensions"), st.sampled_from(["{}", "{plan}", "{plan,age}"])),
    st.tuples(st.just("fold")),
)


def _play(world: World, moves: list[tuple[Any, ...]]) -> None:
    events: list[tuple[str, str]] = []
    hours = 20.0
    for kind, *values in moves:
        if kind == "unit" and values[0] not in world.units:
            number = int(values[0][1:])
            metadata = {"plan": f"p{number % 3}", "age": number * 1.5}
            world.unit(*values, metadata=metadata, epoch=None if number % 2 else 1 + number % 3)
        elif kind == "event" and values[0] in world.units:
            events.append((values[0], world.event(*values)))
        elif kind == "correct" and events:
            user, event = events[values[0] % len(events)]
            world.correct(user, event, values[1])
        elif kind == "override" and values[0] in world.units:
            world.say(
                "UPDATE ab_assignments SET is_override = NOT is_override WHERE id = :unit",
                unit=world.units[values[0]],
            )
            world.touch(values[0])
        elif kind == "clock":
            hours += values[0]
            world.clock(hours)
        elif kind == "dimensions":
            world.say(
                "UPDATE experiment_plan SET dimensions = CAST(:names AS text[]) "
                "WHERE experiment_id = :id",
                names=values[0],
            )
        elif kind == "fold":
            fold(world.tx, [world.id])


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(moves=st.lists(MOVES, min_size=10, max_size=50))
def test_folding_by_differences_is_folding_everything(
    database: Engine, moves: list[tuple[Any, ...]]
) -> None:
    with database.connect() as connection, connection.begin() as transaction:
        world = World(connection)
        world.clock(hours=20)
        for number, metric in enumerate(METRICS):
            world.metric(f"m{number}", **{"kind": "mean", "missing": "exclude", **metric})
        fold(world.tx, [world.id])
        _play(world, moves)
        assert recompute(world.tx, [world.id]) == []
        stepwise = {name: world.moments(name) for name in world.metrics}
        world.say("DELETE FROM fold_state")
        fold(world.tx, [world.id])
        for name, folded in stepwise.items():
            assert {key: row["n"] for key, row in folded.items() if row["assigned"]} == {
                key: row["n"] for key, row in world.moments(name).items() if row["assigned"]
            }
        transaction.rollback()
