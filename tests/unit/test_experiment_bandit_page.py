"""The page, the line and the picture of a bandit, and what its regret is made of."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.experiments.bandits.evidence import AllocationEvidence, BanditArm, BanditPolicy
from tasks.experiments.bandits.regret import regret, values_of
from tasks.experiments.quality.model import QualityCheck
from tasks.experiments.reporting.bandits_page import (
    BanditArmState,
    BanditFacts,
    bandit_line,
    bandit_parts,
)
from tasks.experiments.reporting.bandits_picture import Split, traffic_over_time
from tasks.experiments.traffic.novelty import is_same

START = datetime(2026, 1, 1, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"


def polygons(uri: str) -> list[list[tuple[float, float]]]:
    root = ElementTree.fromstring(base64.b64decode(uri.partition(",")[2]))
    drawn = [each.attrib["points"].split() for each in root.iter(f"{SVG}polygon")]
    return [[(float(x), float(y)) for x, y in (p.split(",") for p in each)] for each in drawn]


def area(points: list[tuple[float, float]]) -> float:
    pairs = zip(points, [*points[1:], points[0]], strict=True)
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairs)) / 2


def test_the_area_of_an_arm_is_its_share_of_time_and_traffic() -> None:
    splits = [
        Split(START, {"a": 0.5, "b": 0.5}),
        Split(START + timedelta(hours=6), {"a": 0.1, "b": 0.9}),
    ]
    drawn = polygons(traffic_over_time(splits, START + timedelta(hours=24), "traffic"))
    shares = [area(each) / sum(map(area, drawn)) for each in drawn]
    assert shares == pytest.approx([0.25 * 0.5 + 0.75 * 0.1, 0.25 * 0.5 + 0.75 * 0.9], abs=1e-3)


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=9, max_size=9), min_size=1, max_size=20),
    st.integers(-5, 500),
)
def test_a_picture_of_any_splits_is_well_formed(rows: list[list[float]], hours: int) -> None:
    splits = [
        Split(START + timedelta(hours=n), {f"<arm & {k}>": w for k, w in enumerate(row)})
        for n, row in enumerate(rows)
    ]
    drawn = polygons(traffic_over_time(splits, START + timedelta(hours=hours), 'a <"title">'))
    assert len(drawn) == 9
    assert all(0 <= x <= 720 and 0 <= y <= 260 for each in drawn for x, y in each)


def arm(name: str, **changes: object) -> BanditArmState:
    fields: dict[str, object] = {
        "name": name,
        "is_open": True,
        "weight": 0.5,
        "units": 1200,
        "n": 1100,
        "value": 0.1,
        "target": 0.5,
        "chance_best": 0.25,
        "chance_second": 0.75,
        "expected_loss": 0.002,
    }
    return BanditArmState.model_validate(fields | changes)


def facts(*arms: BanditArmState, **changes: object) -> BanditFacts:
    fields: dict[str, object] = {"experiment_id": "x", "metric": "bought", "policy": {}}
    return BanditFacts.model_validate(fields | {"arms": arms} | changes)


def test_the_line_says_who_leads_how_surely_and_what_it_cost() -> None:
    told = facts(arm("a"), arm("b", chance_best=0.75), regret=30.0, uniform_regret=120.0)
    expected = "b is best with 75.0%, loss 0.002; regret 30 against 120 of equal shares (25.0%)"
    assert bandit_line(told) == expected
    alike = facts(arm("a"), regret=0.0, uniform_regret=0.0)
    assert bandit_line(alike).endswith("regret 0 against 0 of equal shares")
    assert bandit_line(facts(note="not yet")) == "not yet"


def test_the_page_shows_what_people_named_as_text() -> None:
    odd = arm("<b>|x", is_open=False, chance_best=None, value=None, target=None)
    page = "\n".join(bandit_parts(facts(odd, outcome="held", sentence="a | b"), START))
    assert "&lt;b&gt;\\|x (switched off)" in page
    assert re.search(r"\| – \| 1,100 \| – \| –", page)
    assert "Regret unknown" in page


def test_the_page_says_as_of_when_its_figures_are() -> None:
    page = "\n".join(
        bandit_parts(facts(arm("a"), updated_at=START, regret=1, uniform_regret=2), START)
    )
    assert "as of the last update, 2026-01-01 00:00 UTC, of 1,100 units" in page
    assert "1,200 have come by now" in page


def evidence(**changes: object) -> AllocationEvidence:
    fields: dict[str, object] = {
        "experiment": "greeting",
        "metric": "bought",
        "is_rate": True,
        "arms": (
            BanditArm(name="a", weight=0.5, n=10, mean=0.2, m2=1.6),
            BanditArm(name="b", weight=0.5, n=8, mean=0.5, m2=2.0),
        ),
        "hours": 3.0,
        "checks": (QualityCheck(name="srm", outcome="passed", message="p = 0.4"),),
    }
    return AllocationEvidence.model_validate(fields | changes)


def test_regret_is_that_of_the_formula_by_hand() -> None:
    values = values_of(evidence())
    assert values == {"a": pytest.approx(3 / 12), "b": pytest.approx(5 / 10)}
    found = regret(values, {"a": 10, "b": 8}, {"a": 9, "b": 9}, is_higher_better=True)
    assert tuple(found) == pytest.approx((2.5, 2.25))
    lower = regret(values, {"a": 10, "b": 8}, {"a": 9, "b": 9}, is_higher_better=False)
    assert tuple(lower) == pytest.approx((2.0, 2.25))


@pytest.mark.parametrize(
    ("changes", "is_known"),
    [
        ({}, True),
        ({"hours": 9.0}, True),  # nothing waits for hours
        ({"checks": (QualityCheck(name="srm", outcome="passed", message="p = 0.3"),)}, True),
        ({"checks": (QualityCheck(name="srm", outcome="failed"),)}, False),
        ({"checks": (QualityCheck(name="srm", outcome="passed", figures={"broken": 1}),)}, False),
        ({"is_paused": True}, False),
        ({"policy": BanditPolicy(floor=0.2)}, False),
        ({"problem": "gone"}, False),
    ],
)
def test_only_what_could_change_a_verdict_is_new(
    changes: dict[str, object], is_known: bool
) -> None:
    assert is_same(evidence(), evidence(**changes)) is is_known


def test_the_clock_counts_while_the_warm_up_waits_for_it() -> None:
    policy = BanditPolicy(warm_up_hours=5)
    early, late = (evidence(policy=policy, hours=hours) for hours in (3.0, 6.0))
    assert not is_same(early, late)
    assert is_same(late, evidence(policy=policy, hours=7.0))


def test_a_split_that_an_update_moved_is_nothing_new_and_a_unit_is() -> None:
    moved = [
        each.model_copy(update={"weight": w})
        for each, w in zip(evidence().arms, (0.1, 0.9), strict=True)
    ]
    assert is_same(evidence(), evidence(arms=tuple(moved)))
    more = [moved[0].model_copy(update={"n": 11}), moved[1]]
    assert not is_same(evidence(), evidence(arms=tuple(more)))
