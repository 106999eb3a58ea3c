"""Look before: what would a rollout do, if this were true, or on what is stored?"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, ValidationError

from flows.artifacts import publish_report
from flows.pipeline import Text, pipeline
from tasks import clock
from tasks.database import control_engine
from tasks.errors import InputError
from tasks.misfits import problems
from tasks.rollouts.definition.plan import Moment, Requests
from tasks.rollouts.definition.policy import RolloutPolicy
from tasks.rollouts.definition.schedule import DEFAULT_SCHEDULE, parse_schedule
from tasks.rollouts.simulation.course import follow
from tasks.rollouts.simulation.estimate import Assumed, estimate
from tasks.rollouts.simulation.possible import impossible
from tasks.rollouts.simulation.simulated import Simulated, StoredCourse
from tasks.rollouts.simulation.stored import Stored, read_stored
from tasks.rollouts.simulation.truth import Level, Truth

_REQUESTS_PER_HOUR = 2000.0
_MOST_RUNS = 100_000


@pipeline(name="simulate-rollout")
def simulate_rollout(
    truth: tuple[Level, ...] = (),
    model_version: Text | None = None,
    control_version: Text | None = None,
    schedule: Text = DEFAULT_SCHEDULE,
    policy: RolloutPolicy = RolloutPolicy(),  # noqa: B008 - frozen, and the form shows it
    requests_per_hour: Requests | None = None,
    has_control: bool = True,
    runs: Annotated[int, Field(ge=1, le=_MOST_RUNS)] = 200,
    seed: Annotated[int, Field(ge=0)] = 20261121,
    tick_hours: Annotated[float, Field(gt=0, le=24, allow_inf_nan=False)] = 1.0,
    most_hours: Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)] | None = None,
    starts_at: Moment | None = None,
) -> Simulated:
    """Follow a schedule and policy through the real rules before anybody is exposed to a version.

    Says how often it would be rolled back though nothing is wrong, how soon when something is, and
    how long it takes. Changes nothing. A check of which nothing is known is left out.

    Args:
        truth: What is assumed to be true, one level for each check and time: canary and control
            (by default alike), the deviation of a mean's single values, from and until which hour,
            and what drifts. Left empty, what is stored of the version counts as true.
        model_version: Also go once through what is stored of this version.
        control_version: And of the version before it.
        schedule: Stages as percentage/hours, for example 5/2h,25/4h,50/8h,75/12h,100/24h.
        policy: The checks, and the guard that judges them.
        requests_per_hour: Those of all versions together; 2,000, or those that are stored.
        has_control: Whether the old version is measured too.
        runs: How many rollouts are drawn.
        seed: The same seed draws the same rollouts.
        tick_hours: How far apart ticks are.
        most_hours: How far each run is followed; by default a day more than the schedule takes with
            the freezes that it meets.
        starts_at: When each run starts, as far as freezes go; now, if it is left empty.
    """
    stored = _stored(policy, model_version, control_version, tick_hours)
    if stored is not None and not truth:
        true = stored.truth(policy, requests_per_hour)
    elif truth:
        true = _model(
            Truth,
            levels=truth,
            requests_per_hour=requests_per_hour or _REQUESTS_PER_HOUR,
            has_control=has_control,
        )
    else:
        raise InputError("state what is true (error_rate=0.03), or name a version that was sampled")
    if truth:
        _refuse_impossible(true, policy)
    known, left_out = _known(policy, true)
    assumed = _model(
        Assumed,
        truth=true,
        schedule=parse_schedule(schedule),
        policy=known,
        runs=runs,
        seed=seed,
        tick_hours=tick_hours,
        most_hours=most_hours,
        starts_at=starts_at or _now(),
    )
    simulated = Simulated(
        assumed=assumed,
        estimate=estimate(assumed),
        stored=None if stored is None else _replayed(stored, assumed, policy),
        left_out=left_out,
    )
    publish_report("simulated-rollout", simulated.as_markdown())
    return simulated


def _stored(
    policy: RolloutPolicy, model_version: str | None, control_version: str | None, tick_hours: float
) -> Stored | None:
    if model_version is None:
        return None
    # Nothing is written here, so that there is nothing to remember as a step: a run that goes on
    # reads again.
    with control_engine().connect() as connection:
        return read_stored(connection, policy, model_version, control_version, tick_hours)


def _now() -> datetime:
    with control_engine().connect() as connection:
        return clock.now(connection).replace(second=0, microsecond=0)


def _refuse_impossible(truth: Truth, policy: RolloutPolicy) -> None:
    told = impossible(truth, policy)
    if told:
        raise InputError(f"this cannot be true, so it is not simulated: {'; '.join(told)}")


def _known(policy: RolloutPolicy, truth: Truth) -> tuple[RolloutPolicy, tuple[str, ...]]:
    """The policy without the checks of which nothing is known, and their names."""
    known = {level.check for level in truth.levels}
    unknown = sorted(known - {check.name for check in policy.checks})
    if unknown:
        raise InputError(f"the policy has no check {', '.join(unknown)}")
    checks = [check for check in policy.checks if check.name in known]
    left_out = tuple(check.name for check in policy.checks if check.name not in known)
    fields = dict(policy) | {"checks": checks}
    return _model(RolloutPolicy, **fields), left_out


def _replayed(stored: Stored, assumed: Assumed, policy: RolloutPolicy) -> StoredCourse:
    course = follow(
        assumed.schedule, policy, stored.feed, assumed.tick_hours, stored.hours, stored.first_at
    )
    return StoredCourse(
        model_version=stored.model_version,
        control_version=stored.control_version,
        first_at=stored.first_at,
        hours=stored.hours,
        course=course,
    )


def _model(model: type[Any], **fields: Any) -> Any:
    try:
        return model(**fields)
    except ValidationError as error:
        raise InputError(f"this cannot be simulated: {problems(error, model)}") from None
