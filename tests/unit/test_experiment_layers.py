"""Layers and holdouts, as the pure choice has them."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.bucketing import bucket
from tasks.experiments.assignment.choosing import (
    Enrolment,
    Holdout,
    LayerPart,
    choose,
    layer_salt_of,
)
from tasks.experiments.assignment.ranges import first_ranges

UNITS = [f"u{number}" for number in range(400)]
HALVES = first_ranges([("control", 0.5), ("red", 0.5)])
PAGES = LayerPart(layer="pages", lower=0.25, upper=0.5)


def enrolment(**changes: Any) -> Enrolment:
    return Enrolment(**({"experiment": "buttons", "is_active": True, "ranges": HALVES} | changes))


def holdout(name: str = "winter", share: float = 0.2, **changes: Any) -> Holdout:
    ranges = first_ranges([("held-out", share), ("exposed", 1 - share)])
    fields = {"experiment": name, "is_active": True, "ranges": ranges, "held_out": "held-out"}
    return Holdout(**(fields | changes))


def reasons(asked: Enrolment) -> dict[str, tuple[str, str | None]]:
    return {unit: (found.why, found.by) for unit in UNITS for found in [choose(unit, asked, {})]}


def test_only_units_of_its_part_of_the_layer_are_let_in() -> None:
    for unit, (why, by) in reasons(enrolment(part=PAGES)).items():
        is_inside = 0.25 <= bucket(layer_salt_of("pages"), unit) < 0.5
        assert (why, by) == (("allocated", None) if is_inside else ("outside-layer", "pages"))


def test_who_is_held_out_is_told_by_which_holdout() -> None:
    asked = enrolment(holdouts=(holdout("spring"), holdout("winter")))
    found = list(reasons(asked).values())
    assert found.count(("held-out", "spring")) == pytest.approx(80, abs=30)
    assert found.count(("held-out", "winter")) == pytest.approx(64, abs=30)
    assert ("outside-layer", "pages") not in found


def test_the_layer_is_asked_before_the_holdouts() -> None:
    asked = enrolment(part=PAGES, holdouts=(holdout(share=1.0),))
    assert {why for why, _ in reasons(asked).values()} == {"outside-layer", "held-out"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"override": "red"}, "override"),
        ({"assigned": "control"}, "assigned"),
        ({"is_active": False}, "not-active"),
        ({"traffic_fraction": 0.0}, "outside-traffic"),
    ],
)
def test_what_is_decided_before_needs_no_holdout(changes: dict[str, Any], why: str) -> None:
    asked = enrolment(part=PAGES, holdouts=(holdout(share=1.0),), **changes)
    assert {each for each, _ in reasons(asked).values()} == {why}


def test_a_paused_holdout_keeps_out_whom_it_has_and_nobody_new() -> None:
    paused = holdout(share=1.0, is_active=False)
    assert choose("u1", enrolment(holdouts=(paused,)), {}).why == "allocated"
    had = paused.model_copy(update={"assigned": "held-out"})
    assert choose("u1", enrolment(holdouts=(had,)), {}).why == "held-out"
