"""Roll a version out in stages, guard it every hour, take it back when it does harm."""

from __future__ import annotations

from typing import Annotated

from prefect.runtime import flow_run
from pydantic import Field

from flows.artifacts import publish_report, publish_table
from flows.pipeline import Text, pipeline
from tasks.errors import ItemsFailed
from tasks.rollouts import steps
from tasks.rollouts.outcome import ManualOutcome
from tasks.rollouts.plan import RolloutPlan
from tasks.rollouts.policy import RolloutPolicy
from tasks.rollouts.report import check_rows, manual_report, progress_report
from tasks.rollouts.schedule import DEFAULT_SCHEDULE, parse_schedule, slot_of
from tasks.rollouts.tick import TickOutcome

Percentage = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


def _tick_name() -> str:
    slot = flow_run.parameters.get("slot") or slot_of(flow_run.scheduled_start_time)
    return f"progress-rollouts/{slot}"


@pipeline(name="start-rollout", run_name="start-rollout/{name}")
def start_rollout(
    name: Text,
    model_version: Text,
    actor: Text,
    reason: Text,
    schedule: Text = DEFAULT_SCHEDULE,
    policy: RolloutPolicy = RolloutPolicy(),  # noqa: B008 - frozen, and the form shows it
    experiment: str | None = None,
    variant: str | None = None,
    resalt: bool = False,
) -> ManualOutcome:
    """Start rolling a version out: its first stage is exposed at once.

    From then on the hourly progress-rollouts run moves it on. Starting the same plan again does
    nothing; a version can have only one active rollout (Refused).

    Args:
        name: Name of the rollout, for people; unique.
        model_version: The version that applications ask for and record health samples under.
        actor: Who starts it.
        reason: Why.
        schedule: Stages as percentage/hours, for example 5/2h,25/4h,50/8h,75/12h,100/24h.
            Percentages increase; the last stage's hours are the bake before it is completed.
        policy: The health checks with their limits and sample sizes, the window, and what to do
            when health stays unknown.
        experiment: Name of the experiment whose winner this is, if any.
        variant: The winning variant of that experiment.
        resalt: Draw other users than the version's last rollout did.
    """
    plan = RolloutPlan(
        name=name,
        model_version=model_version,
        schedule=parse_schedule(schedule),
        policy=policy,
        experiment=experiment,
        variant=variant,
        resalt=resalt,
    )
    return _reported(steps.start_rollout(plan=plan, actor=actor, reason=reason), actor, reason)


@pipeline(name="progress-rollouts", run_name=_tick_name)
def progress_rollouts(slot: str | None = None) -> list[TickOutcome]:
    """Check the health of every active rollout, then advance, complete, hold or roll it back.

    At most one stage up for each rollout and run. An unhealthy version goes to 0 % at once, also
    when its rollout is paused or set by hand. A rollout that cannot be looked at stops no other;
    the run then ends Failed and names it.

    Args:
        slot: The hour that this run stands for, for example 2026-11-20T14:00Z; by default the
            present one. A rollout is decided once for each slot, however often it runs.
    """
    plan = steps.plan_tick(slot=slot)
    results = steps.progress_rollout.map(
        [{"rollout_id": each.rollout_id, "slot": plan.slot} for each in plan.rollouts]
    )
    outcomes = [result for result in results if isinstance(result, TickOutcome)]
    failures = {
        each.name: str(result)
        for each, result in zip(plan.rollouts, results, strict=True)
        if isinstance(result, Exception)
    }
    publish_report("rollouts", progress_report(plan.slot, outcomes, failures))
    publish_table("health-checks", check_rows(outcomes))
    if failures:
        raise ItemsFailed("rollouts", failures)
    return outcomes


@pipeline(name="roll-back-rollout", run_name="roll-back-rollout/{rollout}")
def roll_back_rollout(rollout: Text, actor: Text, reason: Text) -> ManualOutcome:
    """Take a version back to 0 % of users now, whatever state its rollout is in.

    It wins over every tick and may be repeated: a second time changes nothing. A rollout that was
    rolled back stays so; start a new one to try again.

    Args:
        rollout: Name of the rollout.
        actor: Who rolls it back.
        reason: Why.
    """
    outcome = steps.roll_back_rollout(rollout=rollout, actor=actor, reason=reason)
    return _reported(outcome, actor, reason)


@pipeline(name="pause-rollout", run_name="pause-rollout/{rollout}")
def pause_rollout(rollout: Text, actor: Text, reason: Text) -> ManualOutcome:
    """Stop a rollout's clock: no step up until it is resumed. Its health is still guarded.

    Args:
        rollout: Name of the rollout.
        actor: Who pauses it.
        reason: Why.
    """
    outcome = steps.pause_rollout(rollout=rollout, actor=actor, reason=reason)
    return _reported(outcome, actor, reason)


@pipeline(name="resume-rollout", run_name="resume-rollout/{rollout}")
def resume_rollout(rollout: Text, actor: Text, reason: Text) -> ManualOutcome:
    """Let a paused rollout, or one whose percentage was set by hand, go on with its schedule.

    The next step up is made by a healthy tick, never by this run.

    Args:
        rollout: Name of the rollout.
        actor: Who resumes it.
        reason: Why.
    """
    outcome = steps.resume_rollout(rollout=rollout, actor=actor, reason=reason)
    return _reported(outcome, actor, reason)


@pipeline(name="set-rollout-percentage", run_name="set-rollout-percentage/{rollout}")
def set_rollout_percentage(
    rollout: Text, percentage: Percentage, actor: Text, reason: Text
) -> ManualOutcome:
    """Expose exactly this percentage of users, and hold there until the rollout is resumed.

    Health is still guarded: an unhealthy version goes to 0 %.

    Args:
        rollout: Name of the rollout.
        percentage: Percentage of users, 0 to 100.
        actor: Who sets it.
        reason: Why.
    """
    outcome = steps.set_rollout_percentage(
        rollout=rollout, percentage=percentage, actor=actor, reason=reason
    )
    return _reported(outcome, actor, reason)


def _reported(outcome: ManualOutcome, actor: str, reason: str) -> ManualOutcome:
    publish_report(f"rollout-{outcome.name}", manual_report(outcome, actor, reason))
    return outcome
