"""What a person's action did to a rollout, and how it is written down."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks.rollouts.changes import record
from tasks.rollouts.changes.record import Rollout
from tasks.rollouts.definition.schedule import Schedule
from tasks.rollouts.definition.state import State


class ManualOutcome(BaseModel):
    """What a person's action did; ``is_noop`` if there was nothing to do."""

    model_config = ConfigDict(frozen=True)

    rollout_id: int
    name: str
    model_version: str
    action: str
    old_percentage: float
    percentage: float
    old_state: State | None
    state: State
    stage_index: int
    schedule: Schedule
    starts_at: datetime | None = None
    version: int
    is_noop: bool = False

    @property
    def done(self) -> str:
        """What was done, in a few words."""
        if self.action == "manual_rollback" and self.old_state is State.SCHEDULED:
            return "rolled back before it began"
        return "nothing to do" if self.is_noop else self.action.replace("_", " ")

    @property
    def summary(self) -> str:
        """One line."""
        if self.action == "delete":
            return f"{self.name}: draft deleted"
        return f"{self.name}: {self.done}; {self.state} at {self.percentage:g} %{self._when}"

    @property
    def _when(self) -> str:
        if self.starts_at is None:
            return ""
        moment = f"{self.starts_at.astimezone(UTC):%F %H:%M} UTC"
        if self.state is State.SCHEDULED:
            return f", starts {moment}"
        return f": its time, {moment}, has passed" if self.action == "start" else ""


def apply(
    tx: Connection,
    before: Rollout,
    after: Rollout,
    now: datetime,
    cause: str,
    actor: str,
    reason: str,
) -> ManualOutcome:
    """Save the new standing, unless it is the old one, audit it and tell of it."""
    if after is not before:
        after = record.save(tx, after)
    record.record_change(tx, before, after, now, cause=cause, actor=actor, reason=reason)
    return outcome_of(before, after, cause)


def outcome_of(before: Rollout | None, after: Rollout, action: str) -> ManualOutcome:
    """What the action led from and to."""
    return ManualOutcome(
        rollout_id=after.id,
        name=after.name,
        model_version=after.model_version,
        action=action,
        old_percentage=before.percentage if before else 0.0,
        percentage=after.percentage,
        old_state=before.state if before else None,
        state=after.state,
        stage_index=after.stage_index,
        schedule=after.schedule,
        starts_at=after.starts_at,
        version=after.version,
        is_noop=action == "noop",
    )
