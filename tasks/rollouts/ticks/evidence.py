"""What a tick knows (TickEvidence), and where its verdict leads (Move)."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import AwareDatetime, BaseModel, ConfigDict

from tasks.rollouts.definition.policy import CheckPolicy, RolloutPolicy
from tasks.rollouts.definition.schedule import TOLERANCE_SECONDS, Schedule
from tasks.rollouts.definition.state import State, Streak
from tasks.rollouts.health.measured import CheckResult, Health, Reading


class TickEvidence(BaseModel):
    """Everything that a tick's verdict rests on. Times are the database's.

    ``measured_version`` is the rollout's version when it was measured, ``version`` the one when it
    was locked: where they differ somebody was faster, and what was measured does not count.
    ``version_taken_by`` and ``group_taken_by`` name the rollouts that are under way where this one
    would start.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    slot: str
    latest_slot: str | None
    now: AwareDatetime
    measured_version: int
    version: int
    state: State
    percentage: float
    schedule: Schedule
    stage_index: int
    stage_entered_at: AwareDatetime
    paused_seconds: float
    starts_at: AwareDatetime | None = None
    policy: RolloutPolicy
    readings: tuple[Reading, ...]
    streaks: dict[str, Streak] = {}
    inconclusive_since: AwareDatetime | None = None
    is_hold_escalated: bool = False
    version_taken_by: str | None = None
    group_taken_by: str | None = None

    @property
    def is_slot_decided(self) -> bool:
        """True if this slot, or one after it, was decided before: nothing moves up any more."""
        return self.latest_slot is not None and self.slot <= self.latest_slot

    @property
    def elapsed_seconds(self) -> float:
        """Seconds in this stage, pauses left out."""
        return (self.now - self.stage_entered_at).total_seconds() - self.paused_seconds


class Move(BaseModel):
    """Where the tick takes the rollout, and what it saw: the verdict's details."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    health: Health | None
    checks: tuple[CheckResult, ...] = ()
    streaks: dict[str, Streak] = {}
    state: State
    percentage: float
    stage_index: int
    is_escalated: bool = False


def window_of(
    check: CheckPolicy,
    policy: RolloutPolicy,
    stage_entered_at: datetime,
    now: datetime,
    latest_end: datetime | None = None,
) -> tuple[datetime, datetime]:
    """The half-open window [start, now) that a check judges: nothing from before the stage.

    The sequential guard adds evidence up over the whole stage, so it takes no shorter window. Where
    the last window ended about where this one starts, they share the edge: ticks that are some
    seconds off neither lose a sample nor count it twice.
    """
    if policy.guard == "sequential":
        return min(stage_entered_at, now), now
    start = now - timedelta(hours=check.window_hours)
    if latest_end and abs((start - latest_end).total_seconds()) <= TOLERANCE_SECONDS:
        start = latest_end
    return min(max(stage_entered_at, start), now), now
