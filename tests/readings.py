"""What a health source said, made up; and what a guard makes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.rollouts.definition.policy import CheckPolicy, RolloutPolicy
from tasks.rollouts.guard.judging import judge_check
from tasks.rollouts.health.measured import CheckResult, Measured, Reading

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def reading(check: str, *, control: dict[str, Any] | None = None, **canary: Any) -> Reading:
    """What was measured of a version in the hour before noon, and of its control."""
    return Reading(
        check=check,
        canary=Measured.model_validate(canary),
        control=None if control is None else Measured.model_validate(control),
        window_start=NOON - timedelta(hours=1),
        window_end=NOON,
    )


def judged(read: Reading, check: CheckPolicy, stages: int = 1, **policy: Any) -> CheckResult:
    """What the policy's guard makes of it."""
    return judge_check(read, check, RolloutPolicy(checks=(check,), **policy), stages)
