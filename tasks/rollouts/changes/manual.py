"""What a person does to a rollout: start it, roll it back, pause, resume, set its percentage."""

from __future__ import annotations

from datetime import datetime
from math import isfinite

from sqlalchemy import Connection

from tasks import clock
from tasks.errors import InputError, Reason, Refused
from tasks.rollouts.changes import drafts, record
from tasks.rollouts.changes.deciding import undecidable
from tasks.rollouts.changes.ending import close_alerts
from tasks.rollouts.changes.outcome import ManualOutcome, apply, outcome_of
from tasks.rollouts.changes.owners import foreign
from tasks.rollouts.changes.record import Rollout
from tasks.rollouts.definition.plan import RolloutPlan
from tasks.rollouts.definition.schedule import TOLERANCE_SECONDS
from tasks.rollouts.definition.state import State
from tasks.rollouts.health.sources.configuring import check_sources


def start(tx: Connection, plan: RolloutPlan, actor: str, reason: str) -> ManualOutcome:
    """Create the rollout and expose its first stage at once, or when its time comes.

    The same plan a second time begins it if it is a draft still, and else does nothing. Refused
    where the name belongs to another plan, it was rolled back, or something is in the way of its
    start.
    """
    found = drafts.find(tx, plan)
    if found is None:
        _lock_start(tx, plan)
        found = drafts.find(tx, plan)  # somebody may have been faster
    now = clock.now(tx)
    if found is not None and found.state is State.DRAFT:
        return _begin(tx, found, found.starts_at, now, actor, reason)
    if found is not None and found.state is State.ROLLED_BACK:
        raise _over(found)
    if found is not None:
        return apply(tx, found, found, now, "noop", actor, reason)
    _check_start(tx, plan, None, plan.starts_at, now)
    is_due = _is_due(plan.starts_at, now)
    first = plan.schedule.stages[0].percentage if is_due else 0.0
    state = State.RUNNING if is_due else State.SCHEDULED
    rollout = drafts.insert(tx, plan, now, state, first)
    cause = "start" if is_due else "schedule"
    record.record_change(tx, None, rollout, now, cause=cause, actor=actor, reason=reason)
    return outcome_of(None, rollout, cause)


def _over(rollout: Rollout) -> Refused:
    message = (
        f"it is over: it was rolled back, and stays so; to roll {rollout.model_version!r} out "
        "again, start a rollout with another name (its users are the same, unless it is resalted)"
    )
    return Refused(f"starting rollout {rollout.name}", [Reason("finished", message)])


def start_draft(
    tx: Connection, name: str, starts_at: datetime | None, actor: str, reason: str
) -> ManualOutcome:
    """Begin the draft of that name, at once or at ``starts_at``, by default the draft's own time.

    Nothing to do for one that runs or waits for its time; Refused where it stands or has ended.
    """
    rollout = record.lock_by_name(tx, name)
    now = clock.now(tx)
    if rollout.state is State.DRAFT:
        return _begin(tx, rollout, starts_at or rollout.starts_at, now, actor, reason)
    if rollout.state in {State.RUNNING, State.SCHEDULED} and starts_at is None:
        return apply(tx, rollout, rollout, now, "noop", actor, reason)
    message = f"it is {rollout.state.words}; only a draft can be started"
    raise Refused(f"starting rollout {name}", [Reason("not-a-draft", message)])


def _begin(
    tx: Connection,
    draft: Rollout,
    starts_at: datetime | None,
    now: datetime,
    actor: str,
    reason: str,
) -> ManualOutcome:
    plan = drafts.plan_of(draft)
    _check_start(tx, plan, draft.id, starts_at, now)
    planned = drafts.follow_users(tx, draft).changed(starts_at=starts_at)
    if not _is_due(starts_at, now):
        return apply(
            tx, draft, planned.changed(state=State.SCHEDULED), now, "schedule", actor, reason
        )
    first = draft.schedule.stages[0].percentage
    after = planned.at(first, 0, now).changed(state=State.RUNNING)
    return apply(tx, draft, after, now, "start", actor, reason)


def _is_due(starts_at: datetime | None, now: datetime) -> bool:
    return starts_at is None or (starts_at - now).total_seconds() <= TOLERANCE_SECONDS


def _check_start(
    tx: Connection,
    plan: RolloutPlan,
    rollout_id: int | None,
    starts_at: datetime | None,
    now: datetime,
) -> None:
    """Refuse a start that another rollout, a freeze or the plan itself is in the way of."""
    check_sources(plan.policy)
    _lock_start(tx, plan)
    asked = {
        "rollout_id": rollout_id,
        "model_version": plan.model_version,
        "exclusion_group": plan.exclusion_group,
    }
    found = tx.execute(drafts.QUERIES["in_the_way"], asked).all()
    reasons = [_in_the_way(plan, each.name, each.state, each.is_of_version) for each in found]
    reasons += _frozen(plan, now) if _is_due(starts_at, now) else []
    reasons += foreign(tx, plan)
    reasons += undecidable(tx, plan)
    if reasons:
        raise Refused(f"starting rollout {plan.name}", reasons)


def _lock_start(tx: Connection, plan: RolloutPlan) -> None:
    """Wait for whoever starts the same version or group: no index covers what is scheduled."""
    places = {f"rollout-version:{plan.model_version}"}
    if plan.exclusion_group is not None:
        places.add(f"rollout-group:{plan.exclusion_group}")
    tx.execute(drafts.QUERIES["lock_start"], {"places": sorted(places)})


def _in_the_way(plan: RolloutPlan, name: str, state: str, is_of_version: bool) -> Reason:
    other = f"{name!r}, which is {State(state).words}"
    if is_of_version:
        message = f"version {plan.model_version!r} is being rolled out by {other}; end that first"
        return Reason("already-active", message)
    message = f"group {plan.exclusion_group!r} is taken by {other}; end that first"
    return Reason("group-taken", message)


def _frozen(plan: RolloutPlan, now: datetime) -> list[Reason]:
    freezes = [freeze for freeze in plan.policy.freezes if freeze.covers(now)]
    return [Reason("frozen", f"nothing starts {each}; give a later starts_at") for each in freezes]


def roll_back(tx: Connection, name: str, actor: str, reason: str) -> ManualOutcome:
    """Take the version back to nobody, in whatever state it is; a second time does nothing.

    One that waits for its time becomes a draft again: nobody has seen it, and what its version's
    last rollout said goes on to hold.
    """
    before = record.lock_by_name(tx, name)
    now = clock.now(tx)
    if before.state in {State.ROLLED_BACK, State.DRAFT}:
        return apply(tx, before, before, now, "noop", actor, reason)
    if before.state is State.SCHEDULED:
        draft = before.changed(state=State.DRAFT)
        return apply(tx, before, draft, now, "manual_rollback", actor, reason)
    after = before.at(0.0, before.stage_index, now).changed(
        state=State.ROLLED_BACK, finished_at=now
    )
    outcome = apply(tx, before, after, now, "manual_rollback", actor, reason)
    close_alerts(tx, after, f"{actor}: {reason}")
    return outcome


def pause(tx: Connection, name: str, actor: str, reason: str) -> ManualOutcome:
    """Stop the stage's clock and all steps up; ticks still guard. Nothing if it stands anyway."""
    before = _active(tx, name, "paused")
    now = clock.now(tx)
    if before.state is not State.RUNNING:
        return apply(tx, before, before, now, "noop", actor, reason)
    after = before.changed(state=State.PAUSED, paused_at=now)
    return apply(tx, before, after, now, "pause", actor, reason)


def resume(tx: Connection, name: str, actor: str, reason: str) -> ManualOutcome:
    """Go on with the schedule; the next step up is a healthy tick's.

    After a pause the stage's clock goes on where it stopped. After a percentage set by hand the
    next stage is the first above it: due at once if the percentage lies between two stages, after
    the stage's full hours if it is a stage's own.
    """
    before = _active(tx, name, "resumed")
    now = clock.now(tx)
    if before.state is State.RUNNING:
        return apply(tx, before, before, now, "noop", actor, reason)
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
    return apply(tx, before, after, now, "resume", actor, reason)


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
    return apply(tx, before, after, now, "manual_set", actor, reason)


def _active(tx: Connection, name: str, action: str) -> Rollout:
    rollout = record.lock_by_name(tx, name)
    if rollout.state.is_finished:
        message = f"it is {rollout.state.words} and cannot be {action}; start a new rollout"
        raise Refused(f"rollout {name}", [Reason("finished", message)])
    if not rollout.state.is_begun:
        message = f"it is {rollout.state.words} and cannot be {action}; it has not begun"
        raise Refused(f"rollout {name}", [Reason("not-begun", message)])
    return rollout


def _rejoin(rollout: Rollout, now: datetime) -> Rollout:
    index, schedule = rollout.stage_index, rollout.schedule
    is_on_stage = index >= 0 and (
        index == schedule.last or schedule.stages[index].percentage == rollout.percentage
    )
    # Between two stages the samples since the percentage was set count for the next step up.
    return rollout.at(rollout.percentage, index, now) if is_on_stage else rollout
