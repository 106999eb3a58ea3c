"""A check that its traffic can never decide is found before the rollout starts."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.errors import UnknownName
from tasks.rollouts.definition.policy import CheckPolicy, RolloutPolicy
from tasks.rollouts.definition.schedule import DEFAULT_SCHEDULE, parse_schedule
from tasks.rollouts.guard.traffic import can_decide


def why(
    requests: float | None,
    schedule: str = DEFAULT_SCHEDULE,
    healthy_rate: float | None = None,
    check: str = "error_rate",
    limit: float = 0.05,
    **more: Any,
) -> str:
    """Why it can decide nothing; nothing if it can."""
    of_policy = {name: more.pop(name) for name in ("guard", "is_strict") if name in more}
    checked = CheckPolicy(check=check, limit=limit, **more)
    policy = RolloutPolicy(checks=(checked, CheckPolicy(check="custom", limit=1)), **of_policy)
    reason = can_decide(checked, policy, parse_schedule(schedule), requests, healthy_rate)
    assert reason is None or reason.code == "too-little-traffic"
    return reason.message if reason else ""


def test_a_stage_must_bring_the_samples_that_the_check_asks_for() -> None:
    assert why(1_000) == ""
    message = why(999)
    assert "99.9 are expected in the 2 h of the stage at 5 % of 999 requests an hour" in message
    assert why(999, min_samples=99) == ""
    assert why(1_000, min_samples=500, schedule="25/2h,50/1h,51/0.5h") == ""


def test_a_later_stage_may_be_the_one_that_is_too_short() -> None:
    assert "stage at 6 %" in why(500, schedule="5/10h,6/1h,100/24h")


def test_a_stage_shorter_than_a_tick_is_judged_after_one_tick() -> None:
    assert why(2_000, schedule="5/0.1h,100/0h") == ""
    assert why(1_999, schedule="5/0.1h,100/0h") != ""


def test_a_threshold_sees_its_window_only_and_evidence_the_whole_stage() -> None:
    assert why(1_000, window_hours=1) != ""
    assert why(1_000, window_hours=1, guard="sequential") == ""


@pytest.mark.parametrize("more", [{"is_shadow": True}, {"action": "warn"}], ids=str)
def test_a_check_that_holds_nothing_up_is_not_refused(more: dict[str, Any]) -> None:
    assert why(1, **more) == ""


def test_where_nothing_is_stated_nothing_is_refused() -> None:
    assert why(None) == ""


def test_a_percentile_has_no_samples_to_count() -> None:
    assert why(1, check="latency_percentile", limit=300) == ""


def test_strict_asks_whether_health_could_be_shown() -> None:
    strict: dict[str, Any] = {"guard": "sequential", "is_strict": True}
    assert why(2_000, **strict) == ""  # 200 without a single error
    assert "a flawless version" in why(1_500, **strict)
    assert "a version with 0.03" in why(2_000, healthy_rate=0.03, **strict)
    assert why(40_000, healthy_rate=0.03, **strict) == ""
    assert why(2_000, healthy_rate=0.03, guard="sequential") == ""
    assert why(20_000, check="accuracy", limit=0.75, healthy_rate=0.85, **strict) == ""
    assert why(20_000, check="accuracy", limit=0.75, healthy_rate=0.76, **strict) != ""


def test_a_check_that_nobody_registered_is_unknown() -> None:
    with pytest.raises(UnknownName):
        why(2_000, check="queue_depth")
