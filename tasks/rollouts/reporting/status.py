"""Where every rollout stands. Reads only; needs no Prefect."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks.rollouts.changes import record
from tasks.rollouts.changes.record import Rollout
from tasks.rollouts.definition.state import State


class RolloutStatus(BaseModel):
    """One rollout for people: its traffic now, its stage, and the hours that stage lasts."""

    model_config = ConfigDict(frozen=True)

    rollout_id: int
    name: str
    model_version: str
    percentage: float
    state: State
    is_active: bool
    stage: str
    stage_hours: float
    starts_at: datetime | None


def rollout_status(connection: Connection) -> list[RolloutStatus]:
    """The status of every rollout, the newest first."""
    return [_status(rollout) for rollout in record.all_rollouts(connection)]


def _status(rollout: Rollout) -> RolloutStatus:
    # A percentage set by hand below the first stage stands before it: index -1.
    stage = rollout.schedule.stages[max(rollout.stage_index, 0)]
    return RolloutStatus(
        rollout_id=rollout.id,
        name=rollout.name,
        model_version=rollout.model_version,
        percentage=rollout.percentage,
        state=rollout.state,
        is_active=rollout.state.is_begun and not rollout.state.is_finished,
        stage=f"{rollout.stage_index + 1} of {len(rollout.schedule.stages)}",
        stage_hours=stage.hours,
        starts_at=rollout.starts_at if rollout.state is State.SCHEDULED else None,
    )
