"""Rollouts before they begin: written down as drafts, edited, deleted."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection

from tasks import clock
from tasks.bucketing import HASH_VERSION
from tasks.database import load_queries
from tasks.errors import InputError, NotFound, Reason, Refused
from tasks.misfits import problems
from tasks.rollouts.changes import record
from tasks.rollouts.changes.outcome import ManualOutcome, apply, outcome_of
from tasks.rollouts.changes.owners import (
    followed_experiment,
    require_followed_version,
    require_own_version,
)
from tasks.rollouts.changes.record import Rollout
from tasks.rollouts.definition.plan import RolloutEdit, RolloutPlan
from tasks.rollouts.definition.state import State
from tasks.rollouts.health.sources.configuring import check_sources

QUERIES = load_queries(__package__, "drafts.sql")


def create(tx: Connection, plan: RolloutPlan, actor: str, reason: str) -> ManualOutcome:
    """Write the plan down as a draft; nobody sees the version yet.

    The same plan a second time does nothing; Refused where the name belongs to another plan, the
    version to another organization, or the variant that it follows has not won.
    """
    found = find(tx, plan)
    now = clock.now(tx)
    if found is not None:
        return apply(tx, found, found, now, "noop", actor, reason)
    check_sources(plan.policy)
    require_own_version(tx, plan)
    draft = insert(tx, plan, now, State.DRAFT, 0.0)
    record.record_change(tx, None, draft, now, cause="create", actor=actor, reason=reason)
    return outcome_of(None, draft, "create")


def edit(tx: Connection, name: str, changes: RolloutEdit, actor: str, reason: str) -> ManualOutcome:
    """Plan a draft anew, in what is given; Refused once it is more than a draft."""
    draft = lock_draft(tx, name, "edited")
    now = clock.now(tx)
    plan = _edited(draft, changes)
    if _is_same(plan, plan_of(draft)):
        return apply(tx, draft, draft, now, "noop", actor, reason)
    check_sources(plan.policy)
    require_own_version(tx, plan)
    require_followed_version(tx, draft.id, plan)
    tx.execute(QUERIES["update_draft"], _row(plan) | {"id": draft.id})
    tx.execute(QUERIES["delete_stages"], {"rollout_id": draft.id})
    _insert_stages(tx, draft.id, plan)
    after = follow_users(tx, record.find(tx, name))
    record.record_change(tx, draft, after, now, cause="edit", actor=actor, reason=reason)
    return outcome_of(draft, after, "edit")


def delete(tx: Connection, name: str, actor: str, reason: str) -> ManualOutcome:
    """Delete a draft; what was done to it stays in the audit."""
    draft = lock_draft(tx, name, "deleted")
    now = clock.now(tx)
    gone = draft.changed(version=draft.version + 1)  # a change of its own, to whoever counts them
    record.record_change(tx, draft, gone, now, cause="delete", actor=actor, reason=reason)
    tx.execute(QUERIES["delete_stages"], {"rollout_id": draft.id})
    tx.execute(QUERIES["delete_draft"], {"rollout_id": draft.id})
    return outcome_of(draft, gone, "delete")


def lock_draft(tx: Connection, name: str, done: str) -> Rollout:
    """Lock the draft of that name; Refused where it is none any more."""
    rollout = record.lock_by_name(tx, name)
    if rollout.state is not State.DRAFT:
        message = f"it is {rollout.state.words}; only a draft can be {done}"
        if rollout.state is State.SCHEDULED:
            message += ", and rolling it back makes it one again"
        raise Refused(f"rollout {name}", [Reason("not-a-draft", message)])
    return rollout


def find(tx: Connection, plan: RolloutPlan) -> Rollout | None:
    """Lock the rollout of that plan, if there is one; Refused where its name has another plan."""
    try:
        found = record.lock_by_name(tx, plan.name)
    except NotFound:
        return None
    if not _is_same(plan_of(found), plan):
        raise _taken(plan)
    return found


def insert(
    tx: Connection, plan: RolloutPlan, now: datetime, state: State, percentage: float
) -> Rollout:
    """Write a new rollout with its stages; Refused without its name, or the winner it follows."""
    begun = {"state": state.value, "percentage": percentage, "now": now}
    origin = {"experiment_id": followed_experiment(tx, plan), "variant": plan.variant}
    salt = _salt(tx, plan.name, plan.model_version, is_resalted=plan.resalt)
    values = _row(plan) | salt | begun | origin | {"hash_version": HASH_VERSION}
    rollout_id = tx.scalar(QUERIES["insert_rollout"], values)
    if rollout_id is None:  # somebody was faster
        raise _taken(plan)
    _insert_stages(tx, int(rollout_id), plan)
    return record.find(tx, plan.name)


def plan_of(rollout: Rollout) -> RolloutPlan:
    """The plan that a rollout follows; where it comes from and how it is salted left out."""
    kept = set(RolloutPlan.model_fields) & set(Rollout.model_fields)
    return RolloutPlan.model_construct(**{field: getattr(rollout, field) for field in kept})


def _is_same(plan: RolloutPlan, other: RolloutPlan) -> bool:
    """Tell whether two plans say the same; a stage's hours are kept as seconds, so not to a ulp."""
    apart = {"schedule", "experiment", "variant", "resalt"}
    return str(plan.schedule) == str(other.schedule) and plan.model_dump(
        exclude=apart
    ) == other.model_dump(exclude=apart)


def follow_users(tx: Connection, draft: Rollout) -> Rollout:
    """Let the rollout go to the users of its version's last one, unless it draws others."""
    if draft.salt == _own_salt(draft.name, is_resalted=True):
        return draft
    salt = _salt(tx, draft.name, draft.model_version)
    tx.execute(QUERIES["set_salt"], salt | {"rollout_id": draft.id})
    return draft.changed(salt=salt["salt"])


def _salt(
    tx: Connection, name: str, model_version: str, *, is_resalted: bool = False
) -> dict[str, Any]:
    inherited = tx.scalar(QUERIES["salt_of_version"], {"model_version": model_version})
    if inherited is None or is_resalted:
        return {"salt": _own_salt(name, is_resalted=is_resalted), "is_salt_inherited": False}
    return {"salt": inherited, "is_salt_inherited": True}


def _own_salt(name: str, *, is_resalted: bool) -> str:
    # What a draft was told about its users must be known when it begins.
    return f"rollout:{name}:resalted" if is_resalted else f"rollout:{name}"


def _row(plan: RolloutPlan) -> dict[str, Any]:
    return plan.model_dump(exclude={"schedule"}) | {"policy": plan.policy.model_dump_json()}


def _insert_stages(tx: Connection, rollout_id: int, plan: RolloutPlan) -> None:
    stages = plan.schedule.stages
    tx.execute(
        QUERIES["insert_stages"],
        {
            "rollout_id": rollout_id,
            "percentages": [stage.percentage for stage in stages],
            "hours": [stage.hours for stage in stages],
        },
    )


def _edited(draft: Rollout, changes: RolloutEdit) -> RolloutPlan:
    planned = plan_of(draft)
    values = {field: getattr(planned, field) for field in RolloutPlan.model_fields}
    try:
        return RolloutPlan.model_validate(values | changes.given)
    except ValidationError as error:
        message = f"rollout {draft.name} cannot be edited so: {problems(error, RolloutPlan)}"
        raise InputError(message) from None


def _taken(plan: RolloutPlan) -> Refused:
    message = f"there is another rollout named {plan.name!r}; choose another name"
    return Refused(f"rollout {plan.name}", [Reason("name-taken", message)])
