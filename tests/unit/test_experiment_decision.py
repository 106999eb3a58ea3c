from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from tasks.decisions import Verdict
from tasks.experiments.decision.evidence import WinnerEvidence
from tasks.experiments.decision.winner import decide_winner
from tasks.experiments.quality.model import QualityCheck
from tests.unit.decisions import (
    arm,
    code,
    evidence,
    look,
    measured,
    outcomes,
    rate,
    terms,
)

FAILED = QualityCheck(name="srm", outcome="failed", message="The split is off")
UNKNOWN = QualityCheck(name="freshness", outcome="unknown", message="nobody knows when")
START = datetime(2026, 3, 2, tzinfo=UTC)
RED, BLUE = arm("red", 52.5), arm("blue", 50.3)


def test_the_one_arm_that_is_significantly_better_wins() -> None:
    verdict = decide_winner(evidence(RED, BLUE))
    assert (verdict.verdict, verdict.details["winner"]) == ("winner", "red")
    assert code(verdict) == "significant"
    assert "red beats control on spend by +2.5 at 50%" in verdict.reasons[0].message
    assert outcomes(verdict) == {"red": "better", "blue": "open"}


def test_where_lower_is_better_the_lower_arm_wins() -> None:
    verdict = decide_winner(evidence(arm("red", 47.5), arm("blue", 52.5), is_higher_better=False))
    assert verdict.details["winner"] == "red"
    assert outcomes(verdict) == {"red": "better", "blue": "harm"}
    assert [reason.code for reason in verdict.reasons] == ["significant", "harm"]


def test_a_losing_arm_is_called_harm_and_there_is_no_winner() -> None:
    verdict = decide_winner(evidence(arm("red", 47.0), arm("blue", 50.1)))
    assert verdict.verdict == "none"
    assert [reason.code for reason in verdict.reasons] == ["not-significant", "harm"]
    assert "red is significantly worse" in verdict.reasons[1].message


def test_the_nearest_missing_condition_is_named() -> None:
    verdict = decide_winner(evidence(arm("red", 50.9), arm("blue", 50.1)))
    assert code(verdict) == "not-significant"
    message = verdict.reasons[0].message
    assert message == "red is nearest: z +2.01 must reach +2.73 at 50% of the planned sample."
    nearest = verdict.details["nearest"]
    assert (nearest["condition"], nearest["arm"], nearest["message"]) == (
        "not-significant",
        "red",
        message,
    )


def test_a_plainly_significant_difference_is_no_winner_before_its_bound() -> None:
    verdict = decide_winner(evidence(arm("red", 51.0), arm("blue", 50.0)))
    red = verdict.details["arms"][0]
    assert red["p_value"] < 0.05
    assert not red["is_significant"]
    assert red["lower"] > 0 > red["sequential_lower"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"checks": (FAILED,)}, "srm-failed"),
        ({"checks": (UNKNOWN,)}, "freshness-unknown"),
        ({"checks": (UNKNOWN, FAILED)}, "srm-failed"),
        ({"checks": ()}, "data-quality-unknown"),
        ({"earlier_terms": terms(planned_units=5000)}, "plan-changed"),
        ({"earlier_terms": terms(method="fixed")}, "plan-changed"),
        ({"primary": measured(RED, BLUE, problem="it was not folded")}, "metric-missing"),
        ({"minimum_per_arm": 1001}, "below-minimum-sample"),
        ({"minimum_weeks": 1}, "below-minimum-weeks"),
    ],
)
@pytest.mark.parametrize("method", ["group_sequential", "fixed", "confidence_sequence", "bayesian"])
def test_behind_a_closed_gate_nothing_wins_whatever_the_method(
    changes: dict[str, Any], expected: str, method: str
) -> None:
    found = evidence(
        arm("red", 60.0), arm("blue", 50.0), method=method, planned_units=3000, **changes
    )
    if expected == "plan-changed" and found.earlier_terms == found.plan.terms:
        pytest.skip("this is the method that it was before")
    verdict = decide_winner(found)
    assert (verdict.verdict, code(verdict)) == ("none", expected)
    assert verdict.details["nearest"]["condition"] == expected
    assert not verdict.details["is_usable"]
    assert verdict.details["significance"] is None
    assert verdict.details["ending"] is None
    assert not verdict.details["result"]["isSignificant"]


def test_the_gates_close_in_their_order() -> None:
    everything = evidence(
        arm("red", 60.0),
        control=arm("control", 50.0, n=10, assigned=1300),
        checks=(FAILED,),
        minimum_weeks=1,
    )
    assert code(decide_winner(everything)) == "srm-failed"
    passed = everything.model_copy(update={"checks": (FAILED.model_copy(update=_PASSED),)})
    assert code(decide_winner(passed)) == "below-minimum-sample"


def test_lost_values_are_judged_by_the_check_of_the_data_alone() -> None:
    """The check `srm-values` sees them by epoch; the rule does not test them a second time."""
    found = evidence(arm("red", 60.0), control=arm("control", 50.0, assigned=1000, n=700))
    verdict = decide_winner(found)
    assert verdict.details["winner"] == "red"
    assert set(verdict.details["value_ratio"]) == {"chi2", "dof", "p_value"}
    lost = FAILED.model_copy(update={"name": "srm-values"})
    assert code(decide_winner(found.model_copy(update={"checks": (lost,)}))) == "srm-values-failed"


_PASSED = {"outcome": "passed"}


@pytest.mark.parametrize(("days", "expected"), [(13.9, "below-minimum-weeks"), (14, "significant")])
def test_full_weeks_are_counted_from_the_start(days: float, expected: str) -> None:
    calendar = {"started_at": START, "now": START + timedelta(days=days), "minimum_weeks": 2}
    assert code(decide_winner(evidence(RED, BLUE, **calendar))) == expected


def test_a_look_by_the_same_terms_is_no_change_of_the_plan() -> None:
    verdict = decide_winner(evidence(RED, BLUE, earlier_terms=terms(), looks=(look(1, 0.2, 1.0),)))
    assert verdict.details["winner"] == "red"


def test_units_without_a_value_close_no_gate_where_all_arms_lose_them_alike() -> None:
    few = [arm(name, 50.0, n=300, assigned=1000) for name in ("control", "red", "blue")]
    verdict = decide_winner(evidence(*few[1:], control=few[0]))
    assert code(verdict) == "not-significant"


def test_an_arm_that_was_switched_off_costs_the_others_nothing() -> None:
    off = arm("off", 0.0, n=0, weight=0.0, m2=0.0)
    alone = decide_winner(evidence(arm("red", 50.9)))
    beside = decide_winner(evidence(arm("red", 50.9), off))
    assert beside.details["arms"] == alone.details["arms"]


def test_an_arm_that_is_switched_off_after_units_came_leaves_its_alpha_to_nobody() -> None:
    # Whoever drops the arms that look worst has picked the best one of them all.
    near, off = arm("red", 50.94), arm("off", 49.9, weight=0.0)  # z = 2.1
    verdict = decide_winner(evidence(near, off, planned_units=2000))
    levels = {row["name"]: row["alpha_level"] for row in verdict.details["arms"]}
    assert (verdict.verdict, levels) == ("none", {"red": 0.025, "off": 0.025})
    assert verdict.details["nearest"]["arm"] == "red"
    alone = decide_winner(evidence(near, planned_units=2000))
    assert alone.details["winner"] == "red"


def test_an_arm_that_is_switched_off_cannot_win() -> None:
    best = arm("off", 60.0, weight=0.0)
    verdict = decide_winner(evidence(arm("red", 50.0), best))
    assert (verdict.verdict, code(verdict)) == ("none", "not-significant")
    assert verdict.details["nearest"]["arm"] == "red"
    beside = decide_winner(evidence(RED, best))
    assert (beside.details["winner"], code(beside)) == ("red", "significant")


# What goes with the verdict ---------------------------------------------------------------------


def test_the_result_has_the_shape_that_applications_know() -> None:
    control, red = rate("control", 200, 2000), rate("red", 300, 2000)
    verdict = decide_winner(
        evidence(red, control=control, kind="proportion", experiment_id="7", planned_units=8000)
    )
    result = verdict.details["result"]
    assert result["results"] == [
        {
            "variant": "control",
            "users": 2000,
            "successRate": 0.1,
            "successCount": 200,
            "totalEvents": 200,
        },
        {
            "variant": "red",
            "users": 2000,
            "successRate": 0.15,
            "successCount": 300,
            "totalEvents": 300,
        },
    ]
    assert (result["experimentId"], result["winner"], result["isSignificant"]) == ("7", "red", True)
    assert result["significance"] == pytest.approx(
        1 - verdict.details["arms"][0]["adjusted_p_value"], abs=1e-9
    )
    assert set(result) == {"experimentId", "results", "significance", "winner", "isSignificant"}


def test_futility_is_said_and_ends_nothing_unless_the_plan_says_so() -> None:
    flat = evidence(
        arm("red", 49.9, n=2900), control=arm("control", 50.0, n=2900), minimum_effect=0.05
    )
    verdict = decide_winner(flat)
    assert verdict.details["futility"]["is_futile"]
    assert [reason.code for reason in verdict.reasons] == ["not-significant", "futile"]
    assert verdict.details["ending"] is None
    options = terms(method_options={"stops_when_futile": True})
    stopping = flat.plan.model_copy(update={"terms": options})
    again = decide_winner(flat.model_copy(update={"plan": stopping}))
    assert again.details["ending"] == "futility"
    hopeful = flat.model_copy(update={"primary": evidence(RED).primary})
    assert not decide_winner(hopeful).details["futility"]["is_futile"]


@pytest.mark.parametrize(
    ("changes", "ending"),
    [
        ({}, "winner"),
        ({"policy": "roll_out"}, "winner"),
        ({"policy": "recommend"}, None),
        ({"is_stopped_at_winner": False}, None),
        ({"policy": "recommend", "planned_units": 3000}, "planned-sample"),
        ({"policy": "recommend", "ends_at": START, "now": START}, "planned-end"),
    ],
)
def test_what_ends_an_experiment_that_has_a_winner(
    changes: dict[str, Any], ending: str | None
) -> None:
    verdict = decide_winner(evidence(RED, BLUE, **changes))
    assert (verdict.details["winner"], verdict.details["ending"]) == ("red", ending)


def test_a_winner_s_lift_is_shown_raw_and_corrected() -> None:
    red = decide_winner(evidence(RED, BLUE)).details["arms"][0]
    assert red["lift"] == pytest.approx(0.05)
    # Close to a sixth of the plan is taken as seen without effect: 0.5 / (0.5 + 1/6).
    assert red["corrected_lift"] == pytest.approx(0.05 * 0.75, rel=0.05)
    blue = decide_winner(evidence(RED, BLUE)).details["arms"][1]
    assert blue["corrected_lift"] is None


def test_the_same_evidence_gives_the_same_verdict_after_a_round_trip_through_json() -> None:
    found = evidence(arm("red", 51.0), arm("blue", 50.0), looks=(look(1, 0.2, None),))
    restored = WinnerEvidence.model_validate_json(found.model_dump_json())
    assert restored == found
    first, second = decide_winner(found), decide_winner(restored)
    assert Verdict.model_validate_json(first.model_dump_json()) == second


def test_evidence_refuses_unknown_fields_and_two_arms_of_one_name() -> None:
    with pytest.raises(ValidationError):
        evidence(arm("red", 50.0), surprise=1)
    with pytest.raises(ValidationError, match="same name"):
        evidence(arm("red", 50.0), arm("red", 51.0))


def test_what_is_open_ended_goes_on_past_its_planned_sample() -> None:
    """A holdout: to complete it would let its units into everything."""
    ended = decide_winner(evidence(RED, planned_units=1500))
    goes_on = decide_winner(
        evidence(RED, planned_units=1500, is_open_ended=True, policy="recommend")
    )
    assert (ended.details["ending"], goes_on.details["ending"]) == ("winner", None)
