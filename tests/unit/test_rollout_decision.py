from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.decisions import Verdict
from tasks.rollouts.definition.policy import CheckPolicy, RolloutPolicy
from tasks.rollouts.definition.schedule import DEFAULT_SCHEDULE, parse_schedule
from tasks.rollouts.definition.state import State
from tasks.rollouts.health.measured import Reading
from tasks.rollouts.ticks.decision import decide_tick
from tasks.rollouts.ticks.evidence import TickEvidence, window_of
from tests.readings import reading

T0 = datetime(2026, 11, 20, tzinfo=UTC)
GOOD = (
    reading("error_rate", value_sum=10, sample_count=1000),
    reading("latency", value_sum=100_000, sample_count=1000),
    reading("accuracy", value_sum=900, sample_count=1000),
)
BAD = (reading("error_rate", value_sum=80, sample_count=1000), *GOOD[1:])
SLOW_TOO = (BAD[0], reading("latency", value_sum=300_000, sample_count=1000), GOOD[2])


def evidence(hours: float, **changes: Any) -> TickEvidence:
    now = T0 + timedelta(hours=hours)
    values: dict[str, Any] = {
        "slot": "2026-11-21T00:00Z",
        "latest_slot": None,
        "now": now,
        "state": State.RUNNING,
        "percentage": 25.0,
        "schedule": parse_schedule(DEFAULT_SCHEDULE),
        "stage_index": 1,
        "stage_entered_at": T0,
        "paused_seconds": 0.0,
        "policy": RolloutPolicy(),
        "measured_version": 3,
        "version": 3,
        "readings": GOOD,
        "inconclusive_since": None,
        "is_hold_escalated": False,
    }
    return TickEvidence(**(values | changes))


def codes(verdict: Verdict) -> list[str]:
    return [reason.code for reason in verdict.reasons]


def test_a_healthy_stage_that_is_over_leads_to_the_next_one() -> None:
    verdict = decide_tick(evidence(hours=4))
    assert verdict.verdict == "advance"
    assert (verdict.details["percentage"], verdict.details["stage_index"]) == (50, 2)


@pytest.mark.parametrize(
    ("seconds_early", "verdict"), [(0, "advance"), (59, "advance"), (60, "advance"), (61, "hold")]
)
def test_a_tick_may_come_a_minute_early(seconds_early: float, verdict: str) -> None:
    assert decide_tick(evidence(hours=4 - seconds_early / 3600)).verdict == verdict


def test_a_stage_that_is_not_over_holds() -> None:
    verdict = decide_tick(evidence(hours=3.9))
    assert (verdict.verdict, codes(verdict)) == ("hold", ["stage-time"])


def test_however_late_the_tick_it_climbs_one_stage() -> None:
    assert decide_tick(evidence(hours=400)).details["percentage"] == 50


def test_the_last_stage_bakes_and_then_completes() -> None:
    last = {"percentage": 100.0, "stage_index": 4}
    assert codes(decide_tick(evidence(hours=23, **last))) == ["stage-time"]
    verdict = decide_tick(evidence(hours=24, **last))
    assert (verdict.verdict, verdict.details["state"]) == ("complete", "completed")
    assert decide_tick(evidence(hours=24, readings=BAD, **last)).verdict == "rollback"


def test_a_schedule_that_ends_below_all_users_completes_as_partial() -> None:
    verdict = decide_tick(evidence(hours=4, schedule=parse_schedule("5/2h,25/4h")))
    assert (verdict.verdict, verdict.details["state"]) == ("complete", "partial")
    assert verdict.details["percentage"] == 25


@pytest.mark.parametrize("state", [State.RUNNING, State.PAUSED, State.MANUAL_HOLD])
def test_harm_rolls_back_in_every_state_that_is_not_an_end(state: State) -> None:
    verdict = decide_tick(evidence(hours=0.5, state=state, readings=BAD))
    assert (verdict.verdict, verdict.details["percentage"]) == ("rollback", 0)
    assert verdict.details["state"] == "rolled_back"


def test_two_breaches_are_one_rollback_with_both_reasons() -> None:
    verdict = decide_tick(evidence(hours=1, readings=SLOW_TOO))
    assert codes(verdict) == ["limit-breached", "limit-breached"]
    assert "error_rate 0.08" in verdict.reasons[0].message
    assert "latency 300" in verdict.reasons[1].message


@pytest.mark.parametrize("state", [State.PAUSED, State.MANUAL_HOLD])
def test_health_does_not_move_what_a_person_holds(state: State) -> None:
    verdict = decide_tick(evidence(hours=40, state=state))
    assert (verdict.verdict, codes(verdict)) == ("hold", [state.value.replace("_", "-")])


@pytest.mark.parametrize("state", [State.COMPLETED, State.PARTIAL, State.ROLLED_BACK])
def test_an_ended_rollout_is_skipped_even_by_bad_news(state: State) -> None:
    verdict = decide_tick(evidence(hours=40, state=state, readings=BAD))
    assert (verdict.verdict, codes(verdict)) == ("skip", ["terminal"])


def test_missing_data_holds_and_says_so() -> None:
    verdict = decide_tick(evidence(hours=40, readings=GOOD[:2]))
    assert (verdict.verdict, codes(verdict)) == ("hold", ["no-data"])


def test_at_nobody_there_is_nothing_to_measure_so_the_first_stage_begins() -> None:
    verdict = decide_tick(evidence(hours=1, readings=(), percentage=0.0, stage_index=-1))
    assert (verdict.verdict, verdict.details["percentage"]) == ("advance", 5)
    assert verdict.reasons[0].message == "due; at 0 % there is nothing to judge: 0 % to 5 %"


def test_between_two_stages_the_next_one_is_due_at_once() -> None:
    verdict = decide_tick(evidence(hours=0.1, percentage=40.0))
    assert (verdict.verdict, verdict.details["percentage"]) == ("advance", 50)


@pytest.mark.parametrize(
    ("hours_unknown", "action", "is_escalated", "expected"),
    [
        (5, "rollback", False, ("hold", ["no-data"] * 3, False)),
        (6, "rollback", False, ("rollback", ["max-hold", *["no-data"] * 3], False)),
        (6, "hold", False, ("hold", ["max-hold", *["no-data"] * 3], True)),
        (7, "hold", True, ("hold", ["max-hold", *["no-data"] * 3], False)),
    ],
)
def test_health_unknown_for_too_long_rolls_back_or_is_escalated_once(
    hours_unknown: float, action: str, is_escalated: bool, expected: tuple[str, list[str], bool]
) -> None:
    verdict = decide_tick(
        evidence(
            hours=20,
            readings=(),
            policy=RolloutPolicy(max_hold_hours=6, max_hold_action=action),
            inconclusive_since=T0 + timedelta(hours=20 - hours_unknown),
            is_hold_escalated=is_escalated,
        )
    )
    assert (verdict.verdict, codes(verdict), verdict.details["is_escalated"]) == expected


@pytest.mark.parametrize(
    ("latest_slot", "code"),
    [("2026-11-21T00:00Z", "slot-decided"), ("2026-11-21T01:00Z", "stale-slot")],
)
def test_a_tick_for_a_slot_that_is_past_moves_nothing_up_but_takes_harm_back(
    latest_slot: str, code: str
) -> None:
    healthy = decide_tick(evidence(hours=40, latest_slot=latest_slot))
    assert (healthy.verdict, codes(healthy)) == ("skip", [code])
    harmful = decide_tick(evidence(hours=40, latest_slot=latest_slot, readings=BAD))
    assert (harmful.verdict, codes(harmful)) == ("rollback", ["limit-breached"])


def test_in_a_slot_that_is_past_unknown_health_rolls_nothing_back() -> None:
    policy = RolloutPolicy(max_hold_action="rollback", max_hold_hours=1)
    unknown = {"policy": policy, "readings": (), "inconclusive_since": T0}
    assert decide_tick(evidence(hours=40, **unknown)).verdict == "rollback"
    again = evidence(hours=40, latest_slot="2026-11-21T00:00Z", **unknown)
    assert decide_tick(again).verdict == "skip"


def test_a_pause_does_not_count_towards_the_stage() -> None:
    assert decide_tick(evidence(hours=13, paused_seconds=10 * 3600)).verdict == "hold"
    assert decide_tick(evidence(hours=14, paused_seconds=10 * 3600)).verdict == "advance"


@pytest.mark.parametrize(
    ("entered_hours_ago", "guard", "start_hours_ago"),
    [
        (0.5, "threshold", 0.5),
        (9, "threshold", 9),
        (30, "threshold", 24),
        # Evidence adds up over the whole stage.
        (30, "sequential", 30),
    ],
)
def test_the_window_begins_with_the_stage_or_a_day_ago(
    entered_hours_ago: float, guard: str, start_hours_ago: float
) -> None:
    entered = T0 - timedelta(hours=entered_hours_ago)
    policy = RolloutPolicy.model_validate({"guard": guard})
    window = window_of(CheckPolicy(check="latency", limit=1), policy, entered, T0)
    assert window == (T0 - timedelta(hours=start_hours_ago), T0)


@pytest.mark.parametrize(("seconds_off", "shares_edge"), [(-60, True), (5, True), (61, False)])
def test_neighbouring_windows_share_their_edge(seconds_off: float, shares_edge: bool) -> None:
    latest_end = T0 - timedelta(hours=1, seconds=seconds_off)
    check = CheckPolicy(check="latency", limit=1, window_hours=1)
    start, _ = window_of(check, RolloutPolicy(), T0 - timedelta(hours=9), T0, latest_end)
    assert (start == latest_end) is shares_edge


def test_what_was_measured_of_another_version_of_the_rollout_does_not_count() -> None:
    verdict = decide_tick(evidence(hours=40, measured_version=2, readings=BAD))
    assert (verdict.verdict, codes(verdict)) == ("skip", ["stale-tick"])


amounts = st.builds(
    lambda metric, total, count, given_value, broken: reading(
        metric,
        value_sum=total,
        sample_count=count,
        given_value=given_value,
        given_rows=0 if given_value is None else 1,
        broken_rows=broken,
    ),
    st.sampled_from(["error_rate", "latency", "accuracy"]),
    st.floats(-1e6, 1e6),
    st.integers(0, 5000),
    st.none() | st.floats(-1e3, 1e3),
    st.integers(0, 2),
)


@given(
    st.lists(amounts, max_size=3, unique_by=lambda read: read.check),
    st.sampled_from([state for state in State if state.is_begun]),
    st.floats(0, 100),
    st.floats(0, 100),
)
def test_no_evidence_whatever_raises_exposure_without_health(
    readings: list[Reading], state: State, percentage: float, hours: float
) -> None:
    schedule = parse_schedule(DEFAULT_SCHEDULE)
    given_evidence = evidence(
        hours=hours,
        readings=tuple(readings),
        state=state,
        percentage=percentage,
        stage_index=schedule.position(percentage),
    )
    assert TickEvidence.model_validate_json(given_evidence.model_dump_json()) == given_evidence
    details = decide_tick(given_evidence).details
    if details["percentage"] > percentage:
        assert details["health"] == "healthy" or percentage == 0
        assert (
            details["percentage"] == schedule.stages[schedule.position(percentage) + 1].percentage
        )
    if details["health"] == "unhealthy":
        assert details["percentage"] == 0
