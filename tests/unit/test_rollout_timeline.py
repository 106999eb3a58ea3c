"""The picture of a rollout over time, and what comes next."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tasks.rollouts.changes.record import Rollout
from tasks.rollouts.definition.policy import RolloutPolicy
from tasks.rollouts.definition.schedule import DEFAULT_SCHEDULE, parse_schedule
from tasks.rollouts.definition.state import State
from tasks.rollouts.health.measured import Health
from tasks.rollouts.reporting.detail import next_step
from tasks.rollouts.reporting.timeline import Measurement, Move, timeline

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"


def at(hours: float) -> datetime:
    return NOON + timedelta(hours=hours)


def move(hours: float, cause: str, percentage: float, state: State = State.RUNNING) -> Move:
    return Move(at=at(hours), cause=cause, percentage=percentage, state=state)


def measured(hours: float, value: float | None, **fields: Any) -> Measurement:
    values = {"metric": "error_rate", "control": None, "limit": 0.05, "verdict": Health.HEALTHY}
    return Measurement(**(values | {"at": at(hours), "value": value} | fields))


def drawn(moves: list[Move], measurements: list[Measurement], until: float) -> ET.Element:
    image = timeline(moves, measurements, at(until), "a [title] <&>")
    found = re.fullmatch(r"!\[(.+)\]\(data:image/svg\+xml;base64,(.+)\)", image)
    assert found is not None
    assert found[1] == "a (title) &lt;&amp;&gt;"
    return ET.fromstring(base64.b64decode(found[2]))


def words(svg: ET.Element) -> list[str]:
    return [each.text or "" for each in svg.iter(f"{SVG}text")]


def test_the_picture_marks_every_change_and_every_measurement() -> None:
    moves = [move(0, "start", 5), move(2, "advance", 25), move(6, "rollback", 0, State.ROLLED_BACK)]
    checks = [measured(hour, 0.01 * hour, control=0.01) for hour in range(1, 6)]
    checks.append(measured(6, 0.09, verdict=Health.UNHEALTHY))
    svg = drawn(moves, checks, 6)
    dots = list(svg.iter(f"{SVG}circle"))
    assert len(dots) == 6
    assert [dot.get("fill") for dot in dots].count("#cf222e") == 1
    assert {"5 %", "25 %", "rollback", "error_rate", "0.05", "0.09"} <= set(words(svg))
    assert "dashed: limit, dotted: control" in words(svg)


def test_the_percentage_is_a_staircase_at_the_right_places() -> None:
    svg = drawn([move(0, "start", 0), move(5, "manual_set", 100)], [], 10)
    [line] = svg.iter(f"{SVG}polyline")
    places = [tuple(map(float, pair.split(","))) for pair in (line.get("points") or "").split()]
    (x0, low), (x1, same), (x2, high), (x3, _) = places
    assert (low, x1) == (same, x2)
    assert high < low  # down is more in SVG
    assert x1 - x0 == pytest.approx(x3 - x2)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_tick_that_measured_nothing_is_shown_as_one(value: float | None) -> None:
    checks = [measured(1, value, verdict=Health.INCONCLUSIVE), measured(2, 0.01)]
    svg = drawn([move(0, "start", 5)], checks, 2)
    assert "?" in words(svg)
    assert len(list(svg.iter(f"{SVG}circle"))) == 1


def test_one_change_alone_and_very_many_can_be_drawn() -> None:
    assert "5 %" in words(drawn([move(0, "start", 5)], [], 0))
    many = [move(hour, "manual_set", hour % 100) for hour in range(200)]
    names = [word for word in words(drawn(many, [], 200)) if word.startswith("set ")]
    assert 5 < len(names) < 15  # none is drawn over another


def rollout(**changes: Any) -> Rollout:
    values: dict[str, Any] = dict.fromkeys(Rollout.model_fields)
    values |= {
        "id": 1,
        "name": "ranker",
        "model_version": "v2",
        "salt": "rollout:ranker",
        "percentage": 25.0,
        "state": State.RUNNING,
        "stage_index": 1,
        "stage_entered_at": NOON,
        "paused_seconds": 0.0,
        "is_hold_escalated": False,
        "source_error_count": 0,
        "streaks": {},
        "is_fail_closed": False,
        "tick_seconds": 3600.0,
        "respects_holdouts": False,
        "holdouts": (),
        "policy": RolloutPolicy(),
        "schedule": parse_schedule(DEFAULT_SCHEDULE),
        "version": 1,
        "created_at": NOON,
    }
    return Rollout.model_validate(values | changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("advance", 50, 4)),
        ({"paused_seconds": 3600.0}, ("advance", 50, 5)),
        # Set by hand between two stages: there is no stage to sit out.
        ({"percentage": 40.0}, ("advance", 50, 1)),
        ({"percentage": 2.0, "stage_index": -1}, ("advance", 5, 1)),
        ({"percentage": 100.0, "stage_index": 4}, ("complete", 100, 24)),
        (
            {"state": State.SCHEDULED, "percentage": 0.0, "starts_at": at(7), "stage_index": 0},
            ("start", 5, 7),
        ),
    ],
)
def test_the_next_step_is_told_with_when_it_is_due(
    changes: dict[str, Any], expected: tuple[str, float, float]
) -> None:
    found = next_step(rollout(**changes), at(1))
    assert found is not None
    assert (found.step, found.percentage, found.due_at) == (*expected[:2], at(expected[2]))


@pytest.mark.parametrize("state", [s for s in State if s not in {State.RUNNING, State.SCHEDULED}])
def test_where_only_a_person_goes_on_no_step_is_promised(state: State) -> None:
    assert next_step(rollout(state=state), at(1)) is None
