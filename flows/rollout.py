"""Roll a version out in stages, guard it every hour, take it back when it does harm."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

from prefect.runtime import flow_run
from pydantic import AfterValidator

from flows.artifacts import publish_report, publish_table
from flows.batches import failures_of, in_batches
from flows.notify import send_unsent
from flows.pipeline import Text, pipeline
from flows.rollout_pages import publish_page, publish_pages
from tasks.errors import InputError, ItemsFailed
from tasks.rollouts.changes.outcome import ManualOutcome
from tasks.rollouts.changes.updating import Percentage, UpdateAction, as_update
from tasks.rollouts.definition.plan import Moment, Requests, RolloutEdit, TickSeconds, as_plan
from tasks.rollouts.definition.policy import RolloutPolicy
from tasks.rollouts.definition.schedule import DEFAULT_SCHEDULE, parse_slot
from tasks.rollouts.health.sources.configuring import check_sources
from tasks.rollouts.reporting.report import manual_report
from tasks.rollouts.reporting.tick_report import check_rows, progress_report
from tasks.rollouts.steps import changing as steps
from tasks.rollouts.steps import ticking
from tasks.rollouts.ticks.tick import TickOutcome
from tasks.settings import load_settings

_BATCH = 1000  # rollouts that one transaction decides on


def _usable(policy: RolloutPolicy) -> RolloutPolicy:
    check_sources(policy)
    return policy


def _usable_edit(edit: RolloutEdit) -> RolloutEdit:
    if edit.policy is not None:
        check_sources(edit.policy)
    return edit


# Judged before there is a run, which would keep a secret that stands where none should.
UsablePolicy = Annotated[RolloutPolicy, AfterValidator(_usable)]
UsableEdit = Annotated[RolloutEdit, AfterValidator(_usable_edit)]


def _tick_name() -> str:
    begins = flow_run.scheduled_start_time
    slot = flow_run.parameters.get("slot") or parse_slot(begins.isoformat())
    return f"progress-rollouts/{slot}"


@pipeline(name="start-rollout", run_name="start-rollout/{name}")
def start_rollout(
    name: Text,
    actor: Text,
    reason: Text,
    model_version: Text | None = None,
    schedule: Text = DEFAULT_SCHEDULE,
    policy: UsablePolicy = RolloutPolicy(),  # noqa: B008 - frozen, and the form shows it
    control_version: Text | None = None,
    organization: Text | None = None,
    exclusion_group: Text | None = None,
    starts_at: Moment | None = None,
    requests_per_hour: Requests | None = None,
    is_fail_closed: bool = False,
    tick_seconds: TickSeconds = 3600.0,
    experiment: Text | None = None,
    variant: Text | None = None,
    resalt: bool = False,
    respects_holdouts: bool | None = None,
    is_draft: bool = False,
) -> ManualOutcome:
    """Start rolling a version out: its first stage is exposed at once, or when its time comes.

    From then on the hourly progress-rollouts run moves it on. Starting the same plan again does
    nothing. Refused while the version, or its exclusion group, has a rollout under way, and where
    the stated traffic can never decide a check. With a name alone the draft of that name starts.

    Args:
        name: Name of the rollout, for people; unique.
        actor: Who starts it.
        reason: Why.
        model_version: The version that applications ask for and record health samples under.
            Leave it empty to start the draft of that name, as it is planned.
        schedule: Stages as percentage/hours, for example 5/2h,25/4h,50/8h,75/12h,100/24h.
            Percentages increase; the last stage's hours are the bake before it is completed.
        policy: The health checks with their limits, sources and sample sizes, the guard that
            judges them, freezes, and what to do when health stays unknown.
        control_version: The version that the others use; what it suffers too, the new one is not
            blamed for.
        organization: Whose rollout it is: keys of another organization do not see it.
        exclusion_group: Of the rollouts of one group only one is under way at a time.
        starts_at: When to expose the first stage; now, if it is left empty.
        requests_per_hour: Those of all versions together, as you expect them. A check that they
            can never decide is refused.
        is_fail_closed: Tell nobody to use the version once two ticks have not come.
        tick_seconds: How far apart ticks are: for that, and for the length of a slot.
        experiment: Name of the experiment whose winner this is, if any.
        variant: The winning variant of that experiment.
        resalt: Draw other users than the version's last rollout did.
        respects_holdouts: Leave the old version to those whom a holdout holds out, for as long as
            it runs. Left empty: where this is the winner of an experiment.
        is_draft: Write it down only; nobody sees the version until it is started.
    """
    document = {
        "schedule": schedule,
        "policy": policy,
        "control_version": control_version,
        "organization": organization,
        "exclusion_group": exclusion_group,
        "requests_per_hour": requests_per_hour,
        "is_fail_closed": is_fail_closed,
        "tick_seconds": tick_seconds,
        "experiment": experiment,
        "variant": variant,
        "resalt": resalt,
    }
    if respects_holdouts is not None:
        document["respects_holdouts"] = respects_holdouts
    if model_version is None:
        _nothing_but_the_name(name, document | {"is_draft": is_draft})
        started = steps.start_draft(rollout=name, starts_at=starts_at, actor=actor, reason=reason)
        return _reported(started, actor, reason)
    named = {"name": name, "model_version": model_version, "starts_at": starts_at}
    plan = as_plan(document | named, f"rollout {name}")
    step = steps.create_rollout if is_draft else steps.start_rollout
    return _reported(step(plan=plan, actor=actor, reason=reason), actor, reason)


def _nothing_but_the_name(name: str, given: dict[str, Any]) -> None:
    parameters = inspect.signature(start_rollout.fn).parameters
    planned = [each for each, value in given.items() if value != parameters[each].default]
    if planned:
        raise InputError(
            f"without model_version the draft {name!r} starts as it is planned; edit it first, or "
            f"leave out {', '.join(planned)}"
        )


@pipeline(name="progress-rollouts", run_name=_tick_name)
def progress_rollouts(slot: str | None = None) -> list[TickOutcome]:
    """Check the health of every active rollout, then advance, complete, hold or roll it back.

    At most one stage up for each rollout and run. An unhealthy version goes to 0 % at once, also
    when its rollout is paused or set by hand. A rollout that cannot be looked at stops no other;
    the run then ends Failed and names it.

    Args:
        slot: The time that this run stands for, for example 2026-11-20T14:00Z; by default the
            present one. A rollout moves up once at most in each slot, which is as long as its
            tick_seconds, an hour at most; harm is rolled back however often it runs.
    """
    plan = ticking.plan_tick(slot=slot)
    names = {each.rollout_id: each.name for each in plan.rollouts}
    measured, unmeasured = in_batches(
        ticking.measure_health, list(names), _BATCH, parameter="rollout_ids"
    )
    outcomes, undecided = in_batches(
        ticking.progress_rollouts, measured, _BATCH, parameter="measured", slot=plan.slot
    )
    ticking.log_moves(outcomes)
    failed = unmeasured | {each.rollout_id: error for each, error in undecided.items()}
    failures = failures_of({names[each]: error for each, error in failed.items()})
    publish_report("rollouts", progress_report(plan.slot, outcomes, failures))
    publish_table("health-checks", check_rows(outcomes))
    publish_pages(each.name for each in outcomes if each.verdict not in {"hold", "skip"})
    if load_settings().notify:
        send_unsent()
    if failures:
        raise ItemsFailed("rollouts", failures)
    return outcomes


@pipeline(name="roll-back-rollout", run_name="roll-back-rollout/{rollout}")
def roll_back_rollout(rollout: Text, actor: Text, reason: Text) -> ManualOutcome:
    """Take a version back to 0 % of users now, whatever state its rollout is in.

    It wins over every tick and may be repeated: a second time changes nothing. A rollout that was
    rolled back stays so; start a new one to try again. One that waits for its time becomes a draft.

    Args:
        rollout: Name of the rollout.
        actor: Who rolls it back.
        reason: Why.
    """
    outcome = steps.roll_back_rollout(rollout=rollout, actor=actor, reason=reason)
    return _reported(outcome, actor, reason)


@pipeline(name="update-rollout", run_name="update-rollout/{action}/{rollout}")
def update_rollout(
    rollout: Text,
    action: UpdateAction,
    actor: Text,
    reason: Text,
    percentage: Percentage | None = None,
    edit: UsableEdit | None = None,
) -> ManualOutcome:
    """Set a rollout's percentage, pause or resume it; edit or delete a draft.

    A percentage set by hand holds until the rollout is resumed. A pause stops the clock of the
    stage and all steps up. Health is guarded all the while: an unhealthy version goes to 0 %. The
    next step up is made by a healthy tick, never by this run.

    Args:
        rollout: Name of the rollout.
        action: What to do.
        actor: Who does it.
        reason: Why.
        percentage: For the action percentage: the percentage of users, 0 to 100.
        edit: For the action edit: what is to be different in the draft.
    """
    update = as_update(action, percentage, edit)
    outcome = steps.update_rollout(rollout=rollout, update=update, actor=actor, reason=reason)
    return _reported(outcome, actor, reason)


def _reported(outcome: ManualOutcome, actor: str, reason: str) -> ManualOutcome:
    report = manual_report(outcome, actor, reason)
    if outcome.action == "delete":
        publish_report(f"rollout-{outcome.name}", report)
    else:
        publish_page(outcome.name, head=report)
    if load_settings().notify:
        send_unsent()
    return outcome
