from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np
import pytest

from tasks.experiments.decision.comparing import compare_arm
from tasks.experiments.decision.standing import trial_of
from tasks.experiments.decision.trial import methods
from tasks.experiments.decision.winner import decide_winner
from tests.unit.decisions import arm, code, evidence, guardrail, measured

RED = arm("red", 52.5)


@pytest.mark.parametrize(
    ("speed", "outcome", "expected"),
    [
        (51.0, "safe", "significant"),
        (49.0, "safe", "significant"),
        (45.5, "indeterminate", "guardrail-indeterminate"),
        (40.0, "failed", "guardrail-failed"),
    ],
)
def test_a_winner_needs_every_guardrail_within_its_margin(
    speed: float, outcome: str, expected: str
) -> None:
    verdict = decide_winner(evidence(RED, guardrails=(guardrail(arm("red", speed)),)))
    assert (code(verdict), verdict.details["arms"][0]["guardrails"]) == (
        expected,
        {"speed": outcome},
    )
    assert (verdict.details["winner"] == "red") == (outcome == "safe")
    assert verdict.details["arms"][0]["outcome"] == "better"


def test_where_lower_is_better_a_guardrail_is_worse_when_it_rises() -> None:
    for value, outcome in ((60.0, "failed"), (40.0, "safe"), (50.0, "safe")):
        speed = guardrail(arm("red", value), is_higher_better=False)
        verdict = decide_winner(evidence(RED, guardrails=(speed,)))
        assert verdict.details["arms"][0]["guardrails"] == {"speed": outcome}


@pytest.mark.parametrize(
    "broken",
    [
        guardrail(arm("red", 50.0), problem="no events"),
        guardrail(arm("red", 50.0), kind="median"),
    ],
)
def test_a_guardrail_that_could_not_be_worked_out_blocks_and_the_other_metrics_appear(
    broken: Any,
) -> None:
    other = measured(arm("red", 50.0), name="visits", role="secondary")
    verdict = decide_winner(evidence(RED, guardrails=(broken,), secondaries=(other,)))
    assert code(verdict) == "guardrail-unknown"
    by_name = {metric["name"]: metric for metric in verdict.details["metrics"]}
    assert [by_name[name]["outcome"] for name in ("spend", "visits", "speed")] == [
        "measured",
        "measured",
        "failed",
    ]
    assert by_name["speed"]["problem"]
    assert by_name["visits"]["arms"][0]["difference"] == 0.0


def test_a_guardrail_without_variance_is_not_taken_for_safe() -> None:
    flat = guardrail(arm("red", 0.0, m2=0.0), control=arm("control", 0.0, m2=0.0))
    assert code(decide_winner(evidence(RED, guardrails=(flat,)))) == "guardrail-indeterminate"


def test_an_arm_with_a_failed_guardrail_leaves_the_win_to_the_other() -> None:
    speed = guardrail(arm("red", 40.0), arm("blue", 50.0))
    verdict = decide_winner(evidence(RED, arm("blue", 52.6), guardrails=(speed,)))
    assert verdict.details["winner"] == "blue"
    assert verdict.details["arms"][0]["guardrails"] == {"speed": "failed"}


def test_a_guardrail_is_judged_by_an_interval_that_allows_for_looking_often() -> None:
    speed = guardrail(arm("red", 46.0))
    once = decide_winner(evidence(RED, guardrails=(speed,), method="bayesian"))
    often = decide_winner(evidence(RED, guardrails=(speed,)))
    assert once.details["winner"] == "red"
    assert code(often) == "guardrail-indeterminate"


def test_with_a_reserve_a_guardrail_keeps_its_error_over_the_plan_and_beyond() -> None:
    """20,000 Brownian paths of an arm exactly at the margin, to twice the plan: alpha is 5 %."""
    fractions = tuple(look / 14 for look in range(1, 29))
    planned = evidence(RED, planned_units=28_000, reserved_alpha=0.02)
    compared = {"red": compare_arm(planned.primary, RED, planned.plan.terms.alpha)}
    trial = trial_of(planned, compared, is_usable=True)
    reaches = []
    for looks in range(1, len(fractions) + 1):
        seen = replace(
            trial,
            fractions=fractions[:looks],
            deviates={"red": (0.0,) * looks},
            units={"red": tuple(int(28_000 * t) for t in fractions[:looks])},
        )
        reach = methods.get("group_sequential").judge(seen).reach(0.1, seen.units["red"][-1])
        assert reach is not None
        reaches.append(reach)
    steps = np.random.default_rng(20261121).normal(0, sqrt(1 / 14), (20_000, len(fractions)))
    z = np.cumsum(steps, axis=1) / np.sqrt(fractions)
    is_passed = np.any(z > np.array(reaches), axis=1).mean()
    assert is_passed <= 0.05 + 2 * sqrt(0.05 * 0.95 / 20_000)
    assert np.any(z[:, :14] > np.array(reaches[:14]), axis=1).mean() == pytest.approx(
        0.03, abs=3 * sqrt(0.03 * 0.97 / 20_000)
    )


# Ties -------------------------------------------------------------------------------------------

BOTH = (arm("red", 52.5), arm("blue", 52.6))


def test_two_arms_that_are_both_better_are_a_tie() -> None:
    verdict = decide_winner(evidence(*BOTH))
    assert (verdict.verdict, code(verdict)) == ("none", "tie")
    assert verdict.details["winner"] is None


@pytest.mark.parametrize(
    ("visits", "is_higher_better", "winner"),
    [((51.0, 50.0), True, "red"), ((51.0, 50.0), False, "blue"), ((51.0, 51.0), True, None)],
)
def test_a_tie_is_broken_by_the_metric_that_was_named_for_it(
    visits: tuple[float, float], is_higher_better: bool, winner: str | None
) -> None:
    arms = [arm(name, value) for name, value in zip(("red", "blue"), visits, strict=True)]
    other = measured(*arms, name="visits", role="secondary", is_higher_better=is_higher_better)
    verdict = decide_winner(evidence(*BOTH, secondaries=(other,), tie_break_metric="visits"))
    assert verdict.details["winner"] == winner
    assert code(verdict) == ("tie-broken" if winner else "tie")


def test_a_tie_stays_one_where_the_metric_for_it_failed() -> None:
    other = measured(*BOTH, name="visits", role="secondary", problem="no events")
    verdict = decide_winner(evidence(*BOTH, secondaries=(other,), tie_break_metric="visits"))
    assert code(verdict) == "tie"
    assert "visits, which was to decide between them, does not" in verdict.reasons[0].message


def test_only_arms_with_safe_guardrails_take_part_in_a_tie() -> None:
    speed = guardrail(arm("red", 50.0), arm("blue", 40.0))
    assert decide_winner(evidence(*BOTH, guardrails=(speed,))).details["winner"] == "red"
