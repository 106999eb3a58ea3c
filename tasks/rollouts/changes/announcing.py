"""Tell of changes of rollouts: every one to programs, and a rollback to people as well.

The notice is put into the outbox in the transaction of the change and sent afterwards, at least
once. Its ``version`` counts the changes of the rollout, so that a receiver passes over what is
older than what it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks.notifications.notice import Notice
from tasks.notifications.outbox import announce_all
from tasks.rollouts.definition.state import State


class RolloutChange(BaseModel):
    """One change of one rollout; ``version`` is the rollout's after it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rollout_id: int
    version: int
    name: str
    model_version: str
    old_percentage: float
    new_percentage: float
    old_state: State | None
    new_state: State
    cause: str
    actor: str
    reason: str

    @property
    def is_news(self) -> bool:
        """False where there was nothing to do."""
        return self.cause != "noop"


def announce_change(tx: Connection, change: RolloutChange) -> int:
    """Put what there is to tell of the change into the outbox; how many messages are new."""
    return announce_changes(tx, [change])


def announce_changes(tx: Connection, changes: Sequence[RolloutChange]) -> int:
    """As `announce_change`, for any number of changes by one statement."""
    return announce_all(tx, [notice for each in changes for notice in notices_of(each)])


def notices_of(change: RolloutChange) -> Iterator[Notice]:
    """The notices of one change: ``rollout-changed``, and ``rollout-rolled-back``."""
    if not change.is_news:
        return
    named = f"{change.name} ({change.model_version})"
    changed = Notice(
        kind="rollout-changed",
        subject=f"rollout:{change.rollout_id}",
        key=f"rollout-changed:{change.rollout_id}:{change.version}",
        title=f"{named}: {_done(change)}",
        text=f"{change.new_state} at {change.new_percentage:g} % by {change.actor}: "
        f"{change.reason}",
        details=change.model_dump(mode="json"),
    )
    yield changed
    if change.new_state is State.ROLLED_BACK:
        told = {
            "kind": "rollout-rolled-back",
            "key": f"rollout-rolled-back:{change.rollout_id}:{change.version}",
            "title": f"{named} was rolled back from {change.old_percentage:g} % to 0 %",
        }
        yield changed.model_copy(update=told)


def _done(change: RolloutChange) -> str:
    if change.cause == "manual_rollback" and change.old_state is State.SCHEDULED:
        return "rolled back before it began"
    moved = f"{change.old_percentage:g} % to {change.new_percentage:g} %"
    return f"{change.cause.replace('_', ' ')}, {moved}"
