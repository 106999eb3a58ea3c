"""What a health source is asked."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, ConfigDict

from tasks.rollouts.policy import CheckPolicy


class Asked(BaseModel):
    """One check of one rollout, over the half-open window [start, end)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rollout_id: int
    check: CheckPolicy
    model_version: str
    control_version: str | None = None
    window_start: AwareDatetime
    window_end: AwareDatetime
