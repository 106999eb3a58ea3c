"""The sequential guard: harm needs evidence, and what the control suffers too is not blamed."""

from __future__ import annotations

from itertools import product
from math import isfinite, log
from typing import Any

import pytest

from tasks.rollouts.definition.policy import DEFAULT_CHECKS, CheckPolicy, RolloutPolicy
from tasks.rollouts.definition.schedule import parse_schedule
from tasks.rollouts.definition.state import State
from tasks.rollouts.guard.judging import judge_check
from tasks.rollouts.health.measured import CheckResult, Health, Reading
from tasks.rollouts.ticks.decision import decide_tick
from tasks.rollouts.ticks.evidence import TickEvidence
from tests.readings import NOON, judged, reading

ERRORS = CheckPolicy(check="error_rate", limit=0.05)
LATENCY = CheckPolicy(check="latency", limit=200)
ACCURACY = CheckPolicy(check="accuracy", limit=0.75)


def counted(bad: float, count: int) -> dict[str, Any]:
    return {"value_sum": bad, "sample_count": count}


def values(mean: float, count: int, deviation: float = 50) -> dict[str, Any]:
    """A mean with its sums of squares."""
    squares = deviation**2 * (count - 1) + count * mean * mean
    return {"value_sum": mean * count, "square_sum": squares, "sample_count": count}


def judge(
    check: CheckPolicy, canary: dict[str, Any], control: dict[str, Any] | None = None, **more: Any
) -> CheckResult:
    seen = reading(check.name, control=control, **canary)
    return judged(seen, check, guard="sequential", **more)


def verdict(*given: Any, **more: Any) -> tuple[str, str, bool]:
    found = judge(*given, **more)
    return found.health.value, found.reason.code, found.judgement.is_shared


@pytest.mark.parametrize(
    ("canary", "control"),
    [
        (counted(20, 100), counted(57, 1_900)),
        (counted(61, 2_000), counted(379, 38_000)),  # three times as bad, and yet under the limit
        (counted(9, 10), counted(0, 90)),  # fewer than min_samples, but enough to tell
    ],
    ids=["over the limit", "under the limit", "few"],
)
def test_a_version_that_is_worse_than_its_control_does_harm(
    canary: dict[str, Any], control: dict[str, Any]
) -> None:
    assert verdict(ERRORS, canary, control) == ("unhealthy", "harm", False)


@pytest.mark.parametrize(
    ("canary", "control"),
    [
        (counted(900, 10_000), counted(9_000, 100_000)),
        (counted(12, 200), counted(1_200, 19_800)),  # it alone shows nothing, both together do
    ],
    ids=["alone", "together"],
)
def test_what_the_control_suffers_too_is_shared(
    canary: dict[str, Any], control: dict[str, Any]
) -> None:
    found = judge(ERRORS, canary, control)
    assert (found.health, found.judgement.is_shared) == (Health.UNHEALTHY, True)
    assert "not to blame" in found.reason.message


def test_a_version_that_heals_what_its_control_suffers_may_go_on() -> None:
    assert verdict(ERRORS, counted(3, 500), counted(800, 9_500))[0] == "healthy"


@pytest.mark.parametrize(
    "control",
    [None, {}, counted(1, 5), {"source_error": "connection refused"}, counted(9, 5)],
    ids=["none", "no data", "stragglers", "unreadable", "impossible"],
)
def test_without_a_control_that_has_a_say_the_limit_decides(control: dict[str, Any] | None) -> None:
    assert verdict(ERRORS, counted(90, 1_000), control) == ("unhealthy", "harm", False)
    assert verdict(ERRORS, counted(60, 1_000), control)[0] == "healthy"


def test_a_raw_breach_without_evidence_is_no_harm() -> None:
    found = judge(ERRORS, counted(6, 100), counted(60, 1_900))
    assert (found.health, found.shadow and found.shadow.health) == ("healthy", "unhealthy")


def test_too_few_samples_are_inconclusive() -> None:
    assert verdict(ERRORS, counted(3, 20)) == ("inconclusive", "too-few-samples", False)
    assert verdict(ERRORS, counted(0, 0))[:2] == ("inconclusive", "no-data")
    assert verdict(ERRORS, {"given_value": 0.1, "given_count": 0})[0] == "inconclusive"


def test_strict_asks_for_evidence_of_health() -> None:
    strict = {"is_strict": True}
    assert verdict(ERRORS, counted(3, 100), **strict)[:2] == (
        "inconclusive",
        "no-evidence-of-health",
    )
    assert verdict(ERRORS, counted(60, 2_000), **strict)[:2] == ("healthy", "within-limit")
    assert verdict(LATENCY, values(190, 100), **strict)[0] == "inconclusive"
    assert verdict(LATENCY, values(190, 10_000), **strict)[0] == "healthy"


def test_where_high_is_good_the_wrong_ones_count() -> None:
    assert verdict(ACCURACY, counted(700, 1_000), counted(8_500, 10_000))[1] == "harm"
    assert verdict(ACCURACY, counted(690, 1_000))[1] == "harm"
    assert verdict(ACCURACY, counted(850, 1_000), counted(8_500, 10_000))[0] == "healthy"
    shared = verdict(ACCURACY, counted(6_000, 10_000), counted(60_000, 100_000))
    assert shared == ("unhealthy", "shared-trouble", True)


def test_a_value_without_a_count_is_judged_as_given() -> None:
    found = judge(ERRORS, {"given_value": 0.15, "given_rows": 1})
    assert (found.health, found.judgement.guard) == ("unhealthy", "sequential")
    assert verdict(ERRORS, {"given_value": 0.04, "given_rows": 1})[0] == "healthy"
    p95 = CheckPolicy(check="latency_percentile", limit=300)
    assert verdict(p95, {"given_value": 301, "given_rows": 1})[0] == "unhealthy"


def test_a_rate_with_its_count_is_evidence() -> None:
    given = {"given_value": 0.06, "given_count": 100, "given_rows": 1}
    assert verdict(ERRORS, given)[0] == "healthy"
    assert verdict(ERRORS, given | {"given_count": 30_000})[:2] == ("unhealthy", "harm")


def test_a_mean_does_harm_beyond_the_limit_and_its_control() -> None:
    slow, fast = values(230, 1_000), values(150, 9_000)
    assert verdict(LATENCY, slow, fast) == ("unhealthy", "harm", False)
    assert verdict(LATENCY, slow) == ("unhealthy", "harm", False)
    assert verdict(LATENCY, slow, values(231, 9_000)) == ("unhealthy", "shared-trouble", True)
    assert verdict(LATENCY, values(201, 1_000), fast)[0] == "healthy"  # it may be chance
    assert verdict(LATENCY, fast, values(400, 9_000))[0] == "healthy"  # it heals


def test_a_mean_that_should_be_high_is_judged_the_other_way() -> None:
    revenue = CheckPolicy(check="custom", metric="revenue", limit=10, operator=">")
    low, high = values(8, 2_000, 5), values(12, 2_000, 5)
    assert verdict(revenue, low, high)[1] == "harm"
    assert verdict(revenue, low, low)[1] == "shared-trouble"
    assert verdict(revenue, high, low)[0] == "healthy"


def test_a_mean_without_squares_says_what_to_record() -> None:
    found = judge(LATENCY, {"value_sum": 23_000, "sample_count": 100})
    assert (found.health, found.reason.code) == ("inconclusive", "no-deviation")
    assert "square_sum" in found.reason.message


def test_values_that_are_all_the_same_are_compared_with_the_limit() -> None:
    assert verdict(LATENCY, values(200, 500, 0))[0] == "unhealthy"  # equal is unhealthy
    assert verdict(LATENCY, values(199, 500, 0))[0] == "healthy"
    assert verdict(LATENCY, values(0, 500, 0))[0] == "healthy"


def test_what_cannot_be_is_inconclusive() -> None:
    assert verdict(ERRORS, counted(-5, 1_000))[1] == "impossible-value"
    assert verdict(ERRORS, counted(5_000, 1_000))[1] == "impossible-value"
    assert verdict(LATENCY, values(-5, 1_000))[1] == "impossible-value"


def test_alpha_is_shared_by_stages_and_checks_that_roll_back() -> None:
    checks = (*DEFAULT_CHECKS, CheckPolicy(check="custom", limit=1, action="hold"))
    seen = reading("error_rate", value_sum=1, sample_count=100)
    policy = RolloutPolicy(checks=checks, guard="sequential", alpha=0.01)
    found = judge_check(seen, checks[0], policy, 5)
    assert found.judgement.evidence["log_e_needed"] == pytest.approx(log(5 * 3 / 0.01))


@pytest.mark.parametrize("check", [*DEFAULT_CHECKS, CheckPolicy(check="latency", limit=0)])
def test_nothing_that_can_be_measured_raises(check: CheckPolicy) -> None:
    numbers = (0.0, 1.0, 0.049e9, 1e9, 1e200)
    found = set()
    for total, squares, count in product(numbers, (None, 0.0, 1e18), (0, 1, 2, 10**9)):
        sums = {"value_sum": total, "square_sum": squares, "sample_count": count}
        for control in (None, sums, values(1, 10**6)):
            result = judge(check, sums, control)
            assert result.reason.code != "check-error", result.reason.message
            assert all(map(isfinite, result.judgement.evidence.values()))
            found.add(result.health)
    assert Health.INCONCLUSIVE in found


@pytest.mark.parametrize(
    ("seen", "decided"),
    [
        (reading("error_rate", control=counted(57, 1_900), **counted(20, 100)), "rollback"),
        (reading("error_rate", control=counted(9_000, 10**5), **counted(900, 10**4)), "hold"),
        (reading("error_rate", control=counted(57, 1_900), **counted(3, 100)), "advance"),
    ],
    ids=["harm", "shared", "healthy"],
)
def test_harm_rolls_back_and_shared_trouble_holds(seen: Reading, decided: str) -> None:
    policy = RolloutPolicy(checks=(ERRORS,), guard="sequential")
    evidence = TickEvidence(
        slot="2026-11-20T12:00Z",
        latest_slot=None,
        now=NOON,
        measured_version=1,
        version=1,
        state=State.RUNNING,
        percentage=5,
        schedule=parse_schedule("5/1h,100/1h"),
        stage_index=0,
        stage_entered_at=seen.window_start,
        paused_seconds=0,
        policy=policy,
        readings=(seen,),
    )
    found = decide_tick(evidence)
    assert found.verdict == decided
    follows = "1 time in a row, hold is what follows"
    assert found.reasons[0].message.endswith(follows) == (decided == "hold")
