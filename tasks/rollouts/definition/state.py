"""Where a rollout stands, and how often its checks came out the same."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class State(StrEnum):
    """Where a rollout stands; a draft and a scheduled one have not begun, the last three ended."""

    DRAFT = "draft"
    SCHEDULED = "scheduled"
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

    @property
    def is_begun(self) -> bool:
        """True once users have been let in."""
        return self not in {State.DRAFT, State.SCHEDULED}

    @property
    def is_under_way(self) -> bool:
        """True while users may see the version because of it, so that its health counts."""
        return self.is_begun and not self.is_finished

    @property
    def words(self) -> str:
        """As people say it."""
        return self.value.replace("_", " ")


class Streak(BaseModel):
    """How often in a row a check came out the same.

    An unhealthy streak is ended by a healthy verdict, not by one that is inconclusive.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    healthy: int = 0
    unhealthy: int = 0
    inconclusive: int = 0
