"""What a person does to a rollout: start it, roll it back, pause, resume, set its percentage."""

from __future__ import annotations

from datetime import datetime
from math import isfinite

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks import clock
from tasks.bucketing import HASH_VERSION
from tasks.errors import InputError, NotFound, Reason, Refused
from tasks.rollouts import record
from tasks.rollouts.health.checks import health_checks
from tasks.rollouts.policy import RolloutPolicy
from tasks.rollouts.record import QUERIES, Rollout
from tasks.rollouts.schedule import Schedule
from tasks.rollouts.state import State


class RolloutPlan(BaseModel):
    """What is to be rolled out, to whom and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    model_version: str
    schedule: Schedule
    policy: RolloutPolicy = RolloutPolicy()
    experiment: str | None = None
    variant: str | None = None
    resalt: bool = False


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
    is_noop: bool = False

    @property
    def summary(self) -> str:
        """One line."""
        done = "nothing to do" if self.is_noop else self.action.replace("_", " ")
        return f"{self.name}: {done}; {self.state} at {self.percentage:g} %"


def start(tx: Connection, plan: RolloutPlan, actor: str, reason: str) -> ManualOutcome:
    """Create the rollout and expose its first stage at once.

    The same plan a second time does nothing. Refused where the name belongs to another plan or
    the version already has an active rollout.
    """
    existing = tx.scalar(QUERIES["rollout_id"], {"name": plan.name})
    if existing is not None:
        return _found(tx, record.lock(tx, int(existing)), plan, actor, reason)
    for check in plan.policy.checks:
        health_checks.get(check.check)
    now = clock.now(tx)
    rollout_id = _insert(tx, plan, now)
    for index, stage in enumerate(plan.schedule.stages):
        tx.execute(
            QUERIES["insert_stage"],
            {
                "rollout_id": rollout_id,
                "stage_index": index,
                "percentage": stage.percentage,
                "duration_seconds": stage.hours * 3600,
            },
        )
    rollout = record.lock(tx, rollout_id)
    record.record_change(tx, None, rollout, now, cause="start", actor=actor, reason=reason)
    return _outcome(None, rollout, "start")


def roll_back(tx: Connection, name: str, actor: str, reason: str) -> ManualOutcome:
    """Take the version back to nobody, in whatever state it is; a second time does nothing."""
    before = record.lock_by_name(tx, name)
    now = clock.now(tx)
    if before.state is State.ROLLED_BACK:
        return _apply(tx, before, before, now, "noop", actor, reason)
    after = before.at(0.0, before.stage_index, now).changed(
        state=State.ROLLED_BACK, finished_at=now
    )
    return _apply(tx, before, after, now, "manual_rollback", actor, reason)


def pause(tx: Connection, name: str, actor: str, reason: str) -> ManualOutcome:
    """Stop the stage's clock and all steps up; ticks still guard. Nothing if it stands anyway."""
    before = _active(tx, name, "paused")
    now = clock.now(tx)
    if before.state is not State.RUNNING:
        return _apply(tx, before, before, now, "noop", actor, reason)
    after = before.changed(state=State.PAUSED, paused_at=now)
    return _apply(tx, before, after, now, "pause", actor, reason)


def resume(tx: Connection, name: str, actor: str, reason: str) -> ManualOutcome:
    """Go on with the schedule; the next step up is a healthy tick's.

    After a pause the stage's clock goes on where it stopped. After a percentage set by hand the
    next stage is the first above it: due at once if the percentage lies between two stages, after
    the stage's full hours if it is a stage's own.
    """
    before = _active(tx, name, "resumed")
    now = clock.now(tx)
    if before.state is State.RUNNING:
        return _apply(tx, before, before, now, "noop", actor, reason)
    paused_seconds = before.seconds_paused(now)
    after = before.changed(
        state=State.RUNNING,
        paused_at=None,
        paused_seconds=paused_seconds,
        inconclusive_since=None,
        is_hold_escalated=False,
    )
    if before.state is State.MANUAL_HOLD:
        after = _rejoin(after, now)
    return _apply(tx, before, after, now, "resume", actor, reason)


def set_percentage(
    tx: Connection, name: str, percentage: float, actor: str, reason: str
) -> ManualOutcome:
    """Expose exactly this percentage (0 to 100) and hold there until it is resumed."""
    if not isfinite(percentage) or not 0 <= percentage <= 100:
        raise InputError(f"a percentage lies between 0 and 100, not {percentage!r}")
    before = _active(tx, name, "set")
    now = clock.now(tx)
    position = before.schedule.position(percentage)
    after = before.at(percentage, position, now).changed(state=State.MANUAL_HOLD)
    return _apply(tx, before, after, now, "manual_set", actor, reason)


def _insert(tx: Connection, plan: RolloutPlan, now: datetime) -> int:
    version = {"model_version": plan.model_version}
    inherited = None if plan.resalt else tx.scalar(QUERIES["newest_salt_of_version"], version)
    rollout_id = tx.scalar(
        QUERIES["insert_rollout"],
        {
            "name": plan.name,
            "model_version": plan.model_version,
            "experiment_id": _experiment_id(tx, plan),
            "variant": plan.variant,
            "salt": inherited or f"rollout:{plan.name}",
            "is_salt_inherited": inherited is not None,
            "hash_version": HASH_VERSION,
            "percentage": plan.schedule.stages[0].percentage,
            "now": now,
            "policy": plan.policy.model_dump_json(),
        },
    )
    if rollout_id is not None:
        return int(rollout_id)
    active = tx.scalar(QUERIES["active_rollout_of_version"], version)
    message = f"version {plan.model_version!r} is being rolled out by {active!r}; end that first"
    raise Refused(f"starting rollout {plan.name}", [Reason("already-active", message)])


def _found(
    tx: Connection, found: Rollout, plan: RolloutPlan, actor: str, reason: str
) -> ManualOutcome:
    planned = (plan.model_version, str(plan.schedule), plan.policy)
    if planned != (found.model_version, str(found.schedule), found.policy):
        message = f"there is another rollout named {plan.name!r}; choose another name"
        raise Refused(f"starting rollout {plan.name}", [Reason("name-taken", message)])
    return _apply(tx, found, found, clock.now(tx), "noop", actor, reason)


def _experiment_id(tx: Connection, plan: RolloutPlan) -> str | None:
    if plan.experiment is None and plan.variant is None:
        return None
    names = {"experiment": plan.experiment, "variant": plan.variant}
    experiment_id = tx.scalar(QUERIES["experiment_variant"], names)
    if experiment_id is None:
        raise NotFound(f"there is no experiment {plan.experiment!r} with variant {plan.variant!r}")
    return str(experiment_id)


def _active(tx: Connection, name: str, action: str) -> Rollout:
    rollout = record.lock_by_name(tx, name)
    if rollout.state.is_finished:
        message = f"it is {rollout.state.value} and cannot be {action}; start a new rollout"
        raise Refused(f"rollout {name}", [Reason("finished", message)])
    return rollout


def _rejoin(rollout: Rollout, now: datetime) -> Rollout:
    index, schedule = rollout.stage_index, rollout.schedule
    is_on_stage = index >= 0 and (
        index == schedule.last or schedule.stages[index].percentage == rollout.percentage
    )
    # Between two stages the samples since the percentage was set count for the next step up.
    return rollout.at(rollout.percentage, index, now) if is_on_stage else rollout


def _apply(
    tx: Connection,
    before: Rollout,
    after: Rollout,
    now: datetime,
    cause: str,
    actor: str,
    reason: str,
) -> ManualOutcome:
    if after is not before:
        after = record.save(tx, after)
    record.record_change(tx, before, after, now, cause=cause, actor=actor, reason=reason)
    return _outcome(before, after, cause)


def _outcome(before: Rollout | None, after: Rollout, action: str) -> ManualOutcome:
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
        is_noop=action == "noop",
    )
