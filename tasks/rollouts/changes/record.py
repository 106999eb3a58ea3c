"""A rollout as the database holds it: read, locked, changed, audited."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks import jsonb
from tasks.database import load_queries
from tasks.errors import NotFound
from tasks.rollouts.changes.announcing import RolloutChange, announce_change
from tasks.rollouts.definition.policy import RolloutPolicy
from tasks.rollouts.definition.schedule import Schedule
from tasks.rollouts.definition.state import State, Streak

QUERIES = load_queries(__package__)


class Rollout(BaseModel):
    """One rollout's standing. ``version`` counts its changes."""

    model_config = ConfigDict(frozen=True)

    id: int
    name: str
    model_version: str
    salt: str
    percentage: float
    state: State
    stage_index: int
    stage_entered_at: datetime
    paused_at: datetime | None
    paused_seconds: float
    inconclusive_since: datetime | None
    is_hold_escalated: bool
    source_error_count: int
    streaks: dict[str, Streak]
    control_version: str | None
    organization: str | None
    exclusion_group: str | None
    starts_at: datetime | None
    requests_per_hour: float | None
    is_fail_closed: bool
    tick_seconds: float
    ticked_at: datetime | None
    respects_holdouts: bool
    holdouts: tuple[str, ...]  # that keep users on the old version now
    policy: RolloutPolicy
    schedule: Schedule
    version: int
    created_at: datetime
    finished_at: datetime | None

    @property
    def subject(self) -> str:
        """What its decisions and alerts are filed under."""
        return f"rollout:{self.id}"

    def changed(self, **values: Any) -> Self:
        """A copy with some values replaced."""
        return self.model_copy(update=values)

    def at(self, percentage: float, stage_index: int, now: datetime) -> Self:
        """A copy that enters a percentage now: the stage's clock starts anew."""
        return self.changed(
            percentage=percentage,
            stage_index=stage_index,
            stage_entered_at=now,
            paused_at=None,
            paused_seconds=0.0,
            inconclusive_since=None,
            is_hold_escalated=False,
            streaks={},
        )

    def is_closed(self, now: datetime) -> bool:
        """Tell whether nobody gets the version because two ticks have not come."""
        ticked_at = self.ticked_at or self.stage_entered_at
        silence = (now - ticked_at).total_seconds()
        return self.is_fail_closed and self.state.is_under_way and silence > 2 * self.tick_seconds

    def seconds_paused(self, now: datetime) -> float:
        """Seconds of this stage that do not count, a pause that still lasts included."""
        lasting = (now - self.paused_at).total_seconds() if self.paused_at else 0.0
        return self.paused_seconds + max(lasting, 0.0)


R = TypeVar("R", bound=Rollout)


def lock_by_name(tx: Connection, name: str) -> Rollout:
    """Lock the rollout of that name until the transaction ends; NotFound if there is none."""
    tx.execute(QUERIES["lock_rollout"], {"name": name})
    return find(tx, name)


def all_rollouts(connection: Connection) -> list[Rollout]:
    """Every rollout, the newest first."""
    return read(connection, Rollout)


def find(connection: Connection, name: str) -> Rollout:
    """Read the rollout of that name without a lock; NotFound if there is none."""
    found = read(connection, Rollout, names=[name])
    if not found:
        raise NotFound(f"there is no rollout named {name!r}")
    return found[0]


def read(
    connection: Connection,
    kind: type[R],
    *,
    rollout_ids: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
) -> list[R]:
    """Every rollout, or those of these numbers or names, the newest first, as that model."""
    asked = {
        "rollout_ids": None if rollout_ids is None else list(rollout_ids),
        "names": None if names is None else list(names),
    }
    rows = connection.execute(QUERIES["rollouts"], asked).mappings()
    return [kind.model_validate({**row, "schedule": {"stages": row["stages"]}}) for row in rows]


def save(tx: Connection, rollout: Rollout) -> Rollout:
    """Write the new standing of a rollout that this transaction has locked; its next version."""
    changed = {"state": rollout.state.value, "streaks": jsonb.dump(rollout.streaks)}
    tx.execute(QUERIES["save_rollout"], rollout.model_dump() | changed)
    return rollout.changed(version=rollout.version + 1)


def record_change(
    tx: Connection,
    before: Rollout | None,
    after: Rollout,
    now: datetime,
    *,
    cause: str,
    actor: str,
    reason: str,
    slot: str | None = None,
    decision_id: int | None = None,
    health_check_id: int | None = None,
) -> None:
    """Add one row to the audit, and tell of the change; without ``before`` the rollout is new."""
    change = RolloutChange(
        rollout_id=after.id,
        version=after.version,
        name=after.name,
        model_version=after.model_version,
        old_percentage=before.percentage if before else 0.0,
        new_percentage=after.percentage,
        old_state=before.state if before else None,
        new_state=after.state,
        cause=cause,
        actor=actor,
        reason=reason,
    )
    where = {
        "slot": slot,
        "decision_id": decision_id,
        "health_check_id": health_check_id,
        "changed_at": now,
    }
    tx.execute(QUERIES["record_change"], change.model_dump(mode="json") | where)
    announce_change(tx, change)
