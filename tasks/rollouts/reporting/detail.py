"""One rollout in detail: where it stands, what comes next, how healthy it is, what was done."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks import clock
from tasks.database import control_engine, load_queries
from tasks.errors import NotFound, Reason
from tasks.rollouts.changes import record
from tasks.rollouts.changes.record import Rollout
from tasks.rollouts.definition.policy import Action, GuardName, Operator
from tasks.rollouts.definition.state import State
from tasks.rollouts.health.measured import Health
from tasks.rollouts.reporting.timeline import Measurement, Move

QUERIES = load_queries(__package__, "detail.sql")
_Rows: TypeAlias = dict[int, list[dict[str, Any]]]
Step: TypeAlias = Literal["start", "advance", "complete"]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True)


class LastCheck(_Row):
    """One check as the last tick judged it: by the guard that acts, and by the other one."""

    metric: str
    slot: str
    verdict: Health
    reason_code: str
    message: str
    value: float | None
    operator: Operator | None
    limit: float
    sample_count: int | None
    min_samples: int
    control_value: float | None
    control_count: int | None
    guard: GuardName
    action: Action
    is_shadow: bool
    is_shared: bool
    evidence: dict[str, Any]
    shadow_guard: GuardName | None
    shadow_verdict: Health | None
    shadow_message: str | None
    window_start: datetime
    window_end: datetime
    checked_at: datetime
    decision_id: int


class OpenAlert(_Row):
    """One alert that is not resolved."""

    id: int
    metric: str
    severity: str
    state: str
    title: str
    message: str
    occurrences: int
    opened_at: datetime
    acknowledged_at: datetime | None


class Origin(_Row):
    """The experiment that a rollout follows; with the decision that named the winner, if any."""

    experiment: str
    variant: str
    decision_id: int | None


class Holdout(_Row):
    """A holdout that keeps users on the old version: ``share`` (0 to 1) of those it targets.

    ``users`` counts those that it is known to hold out; the others are told by their bucket.
    """

    name: str
    status: Literal["active", "paused"]
    share: float
    is_targeted: bool
    users: int


class Change(_Row):
    """One row of the audit."""

    id: int
    changed_at: datetime
    cause: str
    old_percentage: float
    new_percentage: float
    old_state: State | None
    new_state: State
    actor: str
    reason: str
    slot: str | None
    version: int | None
    decision_id: int | None
    health_check_id: int | None


class NextStep(_Row):
    """What a healthy tick does next, and from when on."""

    step: Step
    percentage: float
    due_at: datetime


class LastDecision(_Row):
    """What the last tick decided, and why."""

    id: int
    verdict: str
    reasons: tuple[Reason, ...]
    decided_at: datetime


class RolloutDetail(_Row):
    """One rollout, read at one moment. The newest changes come first."""

    read_at: datetime
    rollout: Rollout
    is_closed: bool
    seconds_in_stage: float
    next_step: NextStep | None
    last_decision: LastDecision | None
    checks: tuple[LastCheck, ...]
    alerts: tuple[OpenAlert, ...]
    origin: Origin | None
    holdouts: tuple[Holdout, ...] = ()
    changes: tuple[Change, ...]
    moves: tuple[Move, ...]
    measurements: tuple[Measurement, ...]


def show_rollout(name: str, changes: int = 20) -> RolloutDetail:
    """Read a rollout as of one moment: a tick that commits meanwhile is in it whole, or not."""
    [found] = show_rollouts([name], changes)
    return found


def show_rollouts(names: Sequence[str], changes: int = 20) -> list[RolloutDetail]:
    """As `show_rollout`, for any number of rollouts by the same few statements."""
    with control_engine().connect() as connection:
        at_once = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        return read_details(connection.execution_options(**at_once), names, changes)


def read_details(
    connection: Connection, names: Sequence[str], changes: int = 20
) -> list[RolloutDetail]:
    """Read rollouts with their last ``changes``, in the order of the names.

    NotFound where there is none of a name.
    """
    by_name = {each.name: each for each in record.read(connection, Rollout, names=names)}
    missing = [name for name in names if name not in by_name]
    if missing:
        raise NotFound(f"there is no rollout named {', '.join(map(repr, missing))}")
    now = clock.now(connection)
    asked = {"rollout_ids": [each.id for each in by_name.values()], "limit": changes}
    found = {query: _by_rollout(connection, query, asked) for query in QUERIES}
    return [_detail(by_name[name], now, found) for name in names]


def _by_rollout(connection: Connection, query: str, asked: dict[str, Any]) -> _Rows:
    rows: _Rows = {}
    for row in connection.execute(QUERIES[query], asked).mappings():
        rows.setdefault(row["rollout_id"], []).append(dict(row))
    return rows


def _detail(rollout: Rollout, now: datetime, found: dict[str, _Rows]) -> RolloutDetail:
    rows = {query: by_rollout.get(rollout.id, []) for query, by_rollout in found.items()}
    decision, origin = next(iter(rows["last_decisions"]), None), next(iter(rows["origins"]), None)
    return RolloutDetail(
        read_at=now,
        rollout=rollout,
        is_closed=rollout.is_closed(now),
        seconds_in_stage=_seconds_in_stage(rollout, now),
        next_step=next_step(rollout, now),
        last_decision=decision and LastDecision.model_validate(decision),
        checks=tuple(map(LastCheck.model_validate, rows["last_checks"])),
        alerts=tuple(map(OpenAlert.model_validate, rows["open_alerts"])),
        origin=origin and Origin.model_validate(origin),
        holdouts=tuple(map(Holdout.model_validate, rows["holdouts"])),
        changes=tuple(map(Change.model_validate, rows["changes"])),
        moves=tuple(map(Move.model_validate, rows["moves"])),
        measurements=tuple(map(Measurement.model_validate, rows["measurements"])),
    )


def next_step(rollout: Rollout, now: datetime) -> NextStep | None:
    """What comes next if the version is healthy; None where only a person goes on, or nobody."""
    stages = rollout.schedule.stages
    if rollout.state is State.SCHEDULED:
        starts_at = rollout.starts_at or now
        return NextStep(step="start", percentage=stages[0].percentage, due_at=starts_at)
    if rollout.state is not State.RUNNING:
        return None
    position = rollout.schedule.position(rollout.percentage)
    is_last = position >= rollout.schedule.last
    return NextStep(
        step="complete" if is_last else "advance",
        percentage=rollout.percentage if is_last else stages[position + 1].percentage,
        due_at=max(_due_at(rollout), now),
    )


def _due_at(rollout: Rollout) -> datetime:
    """When the stage's hours are over; between two stages there are none to sit out."""
    index, schedule = rollout.stage_index, rollout.schedule
    stage = schedule.stages[index] if index >= 0 else None
    if stage is None or (index < schedule.last and stage.percentage != rollout.percentage):
        return rollout.stage_entered_at
    seconds = stage.hours * 3600 + rollout.paused_seconds
    return rollout.stage_entered_at + timedelta(seconds=seconds)


def _seconds_in_stage(rollout: Rollout, now: datetime) -> float:
    if not rollout.state.is_begun:
        return 0.0
    until = rollout.finished_at or now
    elapsed = (until - rollout.stage_entered_at).total_seconds()
    return max(elapsed - rollout.seconds_paused(until), 0.0)
