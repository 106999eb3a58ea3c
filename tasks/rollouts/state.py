"""Where a rollout stands."""

from __future__ import annotations

from enum import StrEnum


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
    def words(self) -> str:
        """As people say it."""
        return self.value.replace("_", " ")
