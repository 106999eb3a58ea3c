"""The rule of bandits: when the split follows the evidence, how far, and when it stays."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import jsonb
from tasks.decisions import Verdict
from tasks.experiments.bandits.algorithms import algorithms
from tasks.experiments.bandits.allocation import allocate_many, allocate_traffic
from tasks.experiments.bandits.balance import balance_traffic
from tasks.experiments.bandits.evidence import (
    AllocationEvidence,
    BalanceEvidence,
    BanditArm,
    BanditPolicy,
    PlannedArm,
)
from tasks.experiments.quality.model import QualityCheck

PASSED = QualityCheck(name="srm", outcome="passed")
MISLED = QualityCheck(name="missing-metric", outcome="failed", figures={"primary": 1})
BROKEN = QualityCheck(name="calibration", outcome="passed", figures={"broken": 1})
UNBOUNDED = {"floor": 0.0, "maximum_step": 1.0, "minimum_change": 0.0}


def rate(name: str, conversions: int, n: int = 1000, **changes: Any) -> BanditArm:
    fields = {"name": name, "n": n, "mean": conversions / max(n, 1), "weight": 0.5}
    return BanditArm(**(fields | changes))


def bandit(*arms: BanditArm, **changes: Any) -> AllocationEvidence:
    policy = {k: changes.pop(k) for k in list(changes) if k in BanditPolicy.model_fields}
    fields: dict[str, Any] = {"experiment": "buttons", "metric": "bought", "is_rate": True}
    fields |= {"policy": BanditPolicy(**policy), "arms": arms, "hours": 48, "checks": (PASSED,)}
    return AllocationEvidence(**(fields | changes))


def codes(verdict: Verdict) -> list[str]:
    return [reason.code for reason in verdict.reasons]


def weights(verdict: Verdict) -> list[float]:
    return list(verdict.details["weights"].values())


RED, BLUE = rate("red", 100), rate("blue", 120)


def test_each_arm_gets_its_chance_to_be_the_best() -> None:
    verdict = allocate_traffic(bandit(RED, BLUE, **UNBOUNDED))
    assert (verdict.verdict, codes(verdict)) == ("changed", ["allocated"])
    assert weights(verdict) == pytest.approx([0.07681656102, 0.92318343897], abs=1e-9)
    assert "blue gets 92.3% of new units (50.0% until now)" in verdict.reasons[0].message
    rows = verdict.details["arms"]
    assert [row["chance_best"] for row in rows] == pytest.approx(weights(verdict), abs=1e-8)
    assert rows[1]["posterior_mean"] == pytest.approx(121 / 1002)
    assert rows[0]["expected_loss"] == pytest.approx(0.0204446938, rel=1e-5)


def test_a_large_change_is_made_in_steps() -> None:
    held, shares = bandit(RED, BLUE, maximum_step=0.15), []
    for _ in range(4):
        verdict = allocate_traffic(held)
        shares.append(weights(verdict)[1])
        arms = zip(held.arms, weights(verdict), strict=True)
        moved = tuple(arm.model_copy(update={"weight": weight}) for arm, weight in arms)
        held = held.model_copy(update={"arms": moved})
        if len(shares) == 1:
            assert codes(verdict) == ["stepped"]
            assert "one update moves 15% at most" in verdict.reasons[0].message
    target = 0.01 + 0.98 * 0.92318343897
    assert shares == pytest.approx([0.65, 0.8, target, target])
    assert codes(verdict) == ["small-change"]


def test_every_open_arm_keeps_the_floor() -> None:
    verdict = allocate_traffic(bandit(rate("red", 10), rate("blue", 300), maximum_step=1.0))
    assert weights(verdict) == pytest.approx([0.01, 0.99], abs=1e-9)


def test_the_split_stays_until_every_arm_is_warm_and_then_moves_in_steps() -> None:
    red, cold = rate("red", 100, weight=0.9), rate("blue", 20, 99, weight=0.1)
    verdict = allocate_traffic(bandit(red, cold, maximum_step=0.1))
    assert (verdict.verdict, codes(verdict)) == ("held", ["warming-up"])
    assert weights(verdict) == [0.9, 0.1]
    assert "blue has 99 units" in verdict.reasons[0].message
    assert [row["target"] for row in verdict.details["arms"]] == [None, None]
    warm = rate("blue", 20, 100, weight=0.1)
    assert weights(allocate_traffic(bandit(red, warm, maximum_step=0.1))) == pytest.approx(
        [0.8, 0.2]
    )


@pytest.mark.parametrize(("hours", "code"), [(23.9, "warming-up"), (None, "warming-up"), (24, "")])
def test_warm_up_also_takes_its_hours(hours: float | None, code: str) -> None:
    verdict = allocate_traffic(bandit(RED, BLUE, warm_up_hours=24, hours=hours))
    assert codes(verdict)[0] == (code or "stepped")


def test_a_change_that_is_not_worth_an_epoch_is_left() -> None:
    near = (rate("red", 100, weight=0.09), rate("blue", 120, weight=0.91))
    verdict = allocate_traffic(bandit(*near))
    assert (verdict.verdict, codes(verdict)) == ("held", ["small-change"])
    assert weights(verdict) == [0.09, 0.91]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"is_paused": True}, "paused"),
        ({"checks": ()}, "quality-unknown"),
        ({"checks": (PASSED, QualityCheck(name="srm", outcome="failed"))}, "quality-failed"),
        ({"checks": (QualityCheck(name="lag", outcome="unknown"),)}, "quality-unknown"),
        ({"checks": (PASSED, BROKEN)}, "calibration-broken"),
        ({"checks": (PASSED, MISLED), "is_higher_better": False}, "quality-failed"),
        ({"problem": "its events are missing"}, "metric-missing"),
        ({"algorithm": "tompson"}, "unknown-algorithm"),
        ({"arms": (RED,)}, "no-choice"),
        ({"arms": (RED, rate("blue", 1, is_open=False))}, "no-choice"),
        ({"arms": ()}, "no-choice"),
        ({"arms": (RED, rate("blue", 0, mean=nan))}, "metric-missing"),
        ({"arms": (RED, rate("blue", 0, mean=1.2))}, "metric-missing"),
        ({"arms": (RED, rate("blue", 0, m2=-1.0)), "is_rate": False}, "metric-missing"),
        ({"arms": (RED, rate("blue", 0, mean=inf)), "is_rate": False}, "metric-missing"),
        ({"arms": (RED, rate("blue", 0, mean=1e200)), "is_rate": False}, "metric-missing"),
    ],
)
def test_behind_a_closed_gate_the_split_stays(changes: dict[str, Any], code: str) -> None:
    evidence = bandit(RED, BLUE, **changes)
    verdict = allocate_traffic(evidence)
    assert (verdict.verdict, codes(verdict)) == ("held", [code])
    assert verdict.details["weights"] == {arm.name: arm.weight for arm in evidence.arms}


def test_the_failed_check_is_named() -> None:
    failed = QualityCheck(name="srm", outcome="failed", message="The split is off.")
    unknown = QualityCheck(name="freshness", outcome="unknown")
    verdict = allocate_traffic(bandit(RED, BLUE, checks=(unknown, failed, PASSED)))
    expected = "Held by the check srm (1 more have not passed): The split is off."
    assert verdict.reasons[0].message == expected


def test_a_guardrail_without_events_stops_no_traffic() -> None:
    unhurt = QualityCheck(name="missing-metric", outcome="failed", figures={"metrics": 1})
    assert codes(allocate_traffic(bandit(RED, BLUE, checks=(unhurt, PASSED)))) == ["stepped"]


@pytest.mark.parametrize("algorithm", ["top_two", "top_two_sampling"])
def test_top_two_of_two_arms_says_that_it_is_half_and_half(algorithm: str) -> None:
    verdict = allocate_traffic(bandit(RED, BLUE, algorithm=algorithm))
    assert codes(verdict) == ["small-change", "top-two-of-two"]
    off = allocate_traffic(bandit(rate("red", 9, weight=0.3), rate("blue", 90, weight=0.7)))
    assert codes(off) == ["stepped"]
    three = allocate_traffic(bandit(RED, BLUE, rate("green", 80), algorithm=algorithm))
    assert "top-two-of-two" not in codes(three)


@pytest.mark.parametrize("algorithm", ["thompson", "top_two", "top_two_sampling", "epsilon_greedy"])
@pytest.mark.parametrize("n", [100, 1000, 10**9])
def test_an_arm_without_conversions_never_gets_more_than_its_equal_share(
    algorithm: str, n: int
) -> None:
    others = rate("blue", 1, 1000), rate("green", 20, 10_000)
    for arms in ((rate("red", 0, n), *others), (rate("red", 0, n), rate("grey", 0), *others)):
        verdict = allocate_traffic(bandit(*arms, algorithm=algorithm, **UNBOUNDED))
        assert weights(verdict)[0] <= 1 / len(arms) + 1e-9
        assert sum(weights(verdict)) == 1.0


def test_a_cap_that_holds_an_arm_back_is_told() -> None:
    barren, known = rate("red", 0, 100, weight=0.2), rate("blue", 2, 1000, weight=0.8)
    verdict = allocate_traffic(bandit(barren, known))
    assert codes(verdict) == ["stepped", "no-conversions"]
    assert "Nobody converted in red" in verdict.reasons[1].message
    nobody = allocate_traffic(bandit(barren, rate("blue", 0, 9000, weight=0.8), maximum_step=1.0))
    assert weights(nobody) == [0.5, 0.5]


def test_where_lower_is_better_the_lowest_leads_also_with_nobody() -> None:
    arms = rate("red", 0), rate("blue", 20)
    verdict = allocate_traffic(bandit(*arms, is_higher_better=False, maximum_step=1.0))
    assert weights(verdict) == pytest.approx([0.99, 0.01], abs=1e-6)
    assert verdict.details["arms"][0]["posterior_mean"] == pytest.approx(1 / 1002)


def test_means_are_allocated_by_their_moments() -> None:
    arms = [
        BanditArm(name=name, weight=1 / 3, n=1000, mean=mean, m2=999.0)
        for name, mean in (("red", 1.0), ("blue", 1.05), ("green", 1.1))
    ]
    verdict = allocate_traffic(bandit(*arms, is_rate=False, is_higher_better=False, **UNBOUNDED))
    assert weights(verdict) == pytest.approx([0.8628722, 0.1298057, 0.0073221], abs=1e-7)
    rows = verdict.details["arms"]
    assert [row["posterior_mean"] for row in rows] == pytest.approx([1.0, 1.05, 1.1])


def test_a_closed_arm_gets_nothing_and_waits_for_nobody() -> None:
    closed = rate("green", 0, 0, is_open=False, weight=0.4)
    open_arms = rate("red", 100, weight=0.3), rate("blue", 120, weight=0.3)
    verdict = allocate_traffic(bandit(*open_arms, closed, **UNBOUNDED))
    assert verdict.details["weights"]["green"] == 0.0
    assert weights(verdict)[:2] == pytest.approx([0.07681656102, 0.92318343897], abs=1e-9)
    assert [row["name"] for row in verdict.details["arms"]] == ["red", "blue"]


def test_many_at_once_come_out_as_one_by_one_and_as_stored() -> None:
    mean = BanditArm(name="grey", weight=0.2, n=300, mean=0.4, m2=20.0)
    evidence = [
        bandit(RED, BLUE),
        bandit(RED, BLUE, rate("green", 3, 150, weight=0.0)),
        bandit(RED, BLUE, mean, is_rate=False),
        bandit(RED, BLUE, is_paused=True),
        bandit(rate("red", 70), BLUE, algorithm="epsilon_greedy"),
        bandit(RED, rate("blue", 0, mean=nan), is_rate=False),
    ]
    together = allocate_many(evidence)
    assert together == [allocate_traffic(each) for each in evidence]
    stored = [AllocationEvidence.model_validate_json(jsonb.dump(each)) for each in evidence]
    assert together == allocate_many(stored)
    assert allocate_many([]) == []


ODD = st.one_of(st.floats(), st.floats(0, 1), st.sampled_from([0.0, 1.0, 1e-12, 1e90]))
ARMS = st.lists(
    st.builds(
        lambda n, mean, m2, weight, is_open: (n, mean, m2, weight, is_open),
        st.one_of(st.integers(0, 2000), st.integers(0, 10**12)),
        ODD,
        ODD,
        st.floats(0, 1),
        st.booleans(),
    ),
    max_size=6,
)


@settings(max_examples=300)
@given(ARMS, st.sampled_from(algorithms.names()), st.booleans(), st.booleans(), st.floats(0, 1))
def test_whatever_the_figures_a_change_is_a_split_with_its_floor(
    fields: list[tuple[Any, ...]], algorithm: str, is_rate: bool, is_higher: bool, floor: float
) -> None:
    names = ("n", "mean", "m2", "weight", "is_open")
    arms = [
        BanditArm(name=str(place), **dict(zip(names, each, strict=True)))
        for place, each in enumerate(fields)
    ]
    limits = {"floor": floor, "maximum_step": 1.0, "warm_up_units": 1, "algorithm": algorithm}
    evidence = bandit(*arms, is_rate=is_rate, is_higher_better=is_higher, **limits)
    verdict = allocate_traffic(evidence)
    split = verdict.details["weights"]
    if verdict.verdict == "held":
        assert split == {arm.name: arm.weight for arm in arms}
        return
    assert sum(split.values()) == 1.0
    least = min(floor, 1 / len(evidence.open_arms)) - 1e-9
    assert all(split[arm.name] >= (least if arm.is_open else 0) for arm in arms)
    assert not any(split[arm.name] for arm in arms if not arm.is_open)


@pytest.mark.parametrize("cause", ["srm", "operator"])
def test_a_fixed_design_goes_back_to_its_plan(cause: Any) -> None:
    arms = (
        PlannedArm(name="control", weight=0.7, planned_weight=0.5),
        PlannedArm(name="red", weight=0.2, planned_weight=0.25),
        PlannedArm(name="blue", weight=0.1, planned_weight=0.25),
    )
    verdict = balance_traffic(BalanceEvidence(experiment="buttons", cause=cause, arms=arms))
    assert (verdict.verdict, codes(verdict)) == ("changed", [cause])
    assert verdict.details["weights"] == {"control": 0.5, "red": 0.25, "blue": 0.25}
    assert "control goes back from 70.0% to the planned 50.0%" in verdict.reasons[0].message


@pytest.mark.parametrize(
    ("cause", "told"), [("srm", "units do not arrive by it"), ("operator", "")]
)
def test_a_split_as_planned_stays(cause: Any, told: str) -> None:
    arms = tuple(PlannedArm(name=name, weight=0.5, planned_weight=0.5) for name in "ab")
    verdict = balance_traffic(BalanceEvidence(experiment="buttons", cause=cause, arms=arms))
    assert (verdict.verdict, codes(verdict)) == ("held", ["as-planned"])
    assert told in verdict.reasons[0].message
