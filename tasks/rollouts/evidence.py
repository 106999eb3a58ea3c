"""What a tick knows (TickEvidence), how it is guarded (RolloutPolicy), where it leads (Move)."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from tasks.rollouts.health import DEFAULT_CHECKS, CheckPolicy, CheckResult, Health, Measured
from tasks.rollouts.schedule import TOLERANCE_SECONDS, Schedule


class State(StrEnum):
    """Where a rollout stands; the last three are its ends."""

    RUNNING = "running"
    PAUSED = "paused"
    MANUAL_HOLD = "manual_hold"
    COMPLETED = "completed"
    PARTIAL = "partial"
    ROLLED_BACK = "rolled_back"

    @property
    def is_finished(self) -> bool:
        """True if no tick moves the rollout any more."""
        return self in {State.COMPLETED, State.PARTIAL, State.ROLLED_BACK}


class RolloutPolicy(BaseModel):
    """How a rollout is guarded.

    Each tick judges the samples of the last ``window_minutes``, but none from before the stage
    began. When the checks stay inconclusive for ``max_hold_hours``, ``max_hold_action`` applies:
    roll back, or keep holding and warn once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    checks: Annotated[tuple[CheckPolicy, ...], Field(min_length=1)] = DEFAULT_CHECKS
    window_minutes: Annotated[float, Field(gt=0, le=60 * 24 * 31, allow_inf_nan=False)] = 60.0
    max_hold_hours: Annotated[float, Field(gt=0, le=24 * 366, allow_inf_nan=False)] = 24.0
    max_hold_action: Literal["hold", "rollback"] = "hold"

    @model_validator(mode="after")
    def _checks_are_distinct(self) -> RolloutPolicy:
        names = [check.check for check in self.checks]
        if len(set(names)) != len(names):
            raise ValueError(f"each check may be named once, not {names}")
        return self


class TickEvidence(BaseModel):
    """Everything that a tick's verdict rests on. Times are the database's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slot: str
    latest_slot: str | None
    now: AwareDatetime
    state: State
    percentage: float
    schedule: Schedule
    stage_index: int
    stage_entered_at: AwareDatetime
    paused_seconds: float
    policy: RolloutPolicy
    window_start: AwareDatetime
    window_end: AwareDatetime
    measured: tuple[Measured, ...]
    inconclusive_since: AwareDatetime | None
    is_hold_escalated: bool

    @property
    def elapsed_seconds(self) -> float:
        """Seconds in this stage, pauses left out."""
        return (self.now - self.stage_entered_at).total_seconds() - self.paused_seconds


class Move(BaseModel):
    """Where the tick takes the rollout, and what it saw: the verdict's details."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    health: Health | None
    checks: tuple[CheckResult, ...] = ()
    state: State
    percentage: float
    stage_index: int
    is_escalated: bool = False


def measuring_window(
    policy: RolloutPolicy,
    stage_entered_at: datetime,
    now: datetime,
    latest_window_end: datetime | None = None,
) -> tuple[datetime, datetime]:
    """The half-open window [start, now) that a tick judges: nothing from before the stage.

    Where the last window ended about where this one starts, they share the edge: ticks that are
    some seconds off neither lose a sample nor count it twice.
    """
    start = now - timedelta(minutes=policy.window_minutes)
    if latest_window_end is not None:
        is_near = abs((start - latest_window_end).total_seconds()) <= TOLERANCE_SECONDS
        start = latest_window_end if is_near else start
    return min(max(stage_entered_at, start), now), now
