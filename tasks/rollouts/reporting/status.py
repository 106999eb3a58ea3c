"""Where every rollout stands. Reads only; needs no Prefect."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks import clock
from tasks.rollouts.changes import record
from tasks.rollouts.changes.record import Rollout
from tasks.rollouts.definition.state import State


class RolloutStatus(BaseModel):
    """One rollout for people: its traffic now, its stage, and the hours that stage lasts.

    ``is_closed`` says that nobody gets the version, whatever its percentage: its ticks do not come.
    ``holdouts`` keep users on the old version, also at 100 %.
    """

    model_config = ConfigDict(frozen=True)

    rollout_id: int
    name: str
    model_version: str
    percentage: float
    is_closed: bool
    state: State
    is_active: bool
    stage: str
    stage_hours: float
    starts_at: datetime | None
    holdouts: tuple[str, ...] = ()

    @property
    def traffic(self) -> str:
        """Who gets the version now, in words."""
        if self.is_closed:
            return "0 % (closed: no tick)"
        held_out = f" but for holdout {', '.join(self.holdouts)}" if self.holdouts else ""
        return f"{self.percentage:g} %{held_out}"


def rollout_status(connection: Connection) -> list[RolloutStatus]:
    """The status of every rollout, the newest first."""
    now = clock.now(connection)
    return [_status(rollout, now) for rollout in record.all_rollouts(connection)]


def _status(rollout: Rollout, now: datetime) -> RolloutStatus:
    # A percentage set by hand below the first stage stands before it: index -1.
    stage = rollout.schedule.stages[max(rollout.stage_index, 0)]
    return RolloutStatus(
        rollout_id=rollout.id,
        name=rollout.name,
        model_version=rollout.model_version,
        percentage=rollout.percentage,
        is_closed=rollout.is_closed(now),
        state=rollout.state,
        is_active=rollout.state.is_under_way,
        stage=f"{rollout.stage_index + 1} of {len(rollout.schedule.stages)}",
        stage_hours=stage.hours,
        starts_at=rollout.starts_at if rollout.state is State.SCHEDULED else None,
        holdouts=rollout.holdouts,
    )
