"""Many courses of one rollout, drawn from what is assumed to be true, and what they come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from tasks.rollouts.definition.policy import RolloutPolicy
from tasks.rollouts.definition.schedule import DEFAULT_SCHEDULE, Schedule, parse_schedule
from tasks.rollouts.definition.state import State
from tasks.rollouts.simulation.course import START, Course, follow
from tasks.rollouts.simulation.figures import Median, Share, median_of, share
from tasks.rollouts.simulation.traffic import drawn
from tasks.rollouts.simulation.truth import Truth

_ROOM_HOURS = 24.0
_MOST_HOURS = 10_000.0
_THAW_HOURS = 0.25


class Assumed(BaseModel):
    """What is simulated: a schedule and a policy, against a truth, so many times from a seed.

    A course that has not ended ``most_hours`` after its start (by default a day more than the
    schedule takes with the freezes that it meets) is left as it stands.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    truth: Truth
    schedule: Schedule = parse_schedule(DEFAULT_SCHEDULE)
    policy: RolloutPolicy = RolloutPolicy()
    runs: Annotated[int, Field(ge=1, le=100_000)] = 200
    seed: Annotated[int, Field(ge=0)] = 20261121
    tick_hours: Annotated[float, Field(gt=0, le=24, allow_inf_nan=False)] = 1.0
    most_hours: Annotated[float, Field(gt=0, le=_MOST_HOURS, allow_inf_nan=False)] | None = None
    starts_at: AwareDatetime = START

    @property
    def horizon(self) -> float:
        """When nobody looks further, in hours."""
        return self.most_hours or min(self.schedule_hours + _ROOM_HOURS, _MOST_HOURS)

    @property
    def schedule_hours(self) -> float:
        """Hours that the schedule takes if nothing but its freezes holds it up."""
        hour = 0.0
        for stage in self.schedule.stages:
            hour += stage.hours
            while hour < _MOST_HOURS and self.is_frozen(hour):
                hour += _THAW_HOURS
        return hour

    def is_frozen(self, hour: float) -> bool:
        """Tell whether no step up may be taken at an hour."""
        moment = self.starts_at + timedelta(hours=hour)
        return any(each.covers(moment) for each in self.policy.freezes)


class Estimate(BaseModel):
    """How often the rollout ended how, and when.

    ``false_rollback`` counts rollbacks before the version did any harm of its own
    (``harmful_from``, None if it never does); ``detection_delay`` is from there to the rollback.
    ``frozen`` is how long a freeze held the runs that it held, and ``stopped_by`` counts the
    checks' reasons for rolling back by their code.
    """

    model_config = ConfigDict(frozen=True)

    harmful_from: float | None
    rolled_back: Share
    false_rollback: Share
    completed: Share
    unfinished: Share
    completion: Median | None
    rollback: Median | None
    detection_delay: Median | None
    frozen: Median | None
    stopped_by: dict[str, int]


def courses(assumed: Assumed) -> Iterator[Course]:
    """Every run's course; a run has its own draws, whatever the others did."""
    import numpy as np  # here, so that who only reads a rollout does not wait for it

    horizon = assumed.horizon
    for run in range(assumed.runs):
        rng = np.random.default_rng([assumed.seed, run])
        feed = drawn(assumed.truth, assumed.policy, assumed.tick_hours, rng)
        yield follow(
            assumed.schedule, assumed.policy, feed, assumed.tick_hours, horizon, assumed.starts_at
        )


def estimate(assumed: Assumed) -> Estimate:
    """Follow all runs and sum them up. Raise UnknownName for a check that nobody registered."""
    harmful_from = assumed.truth.harmful_from(assumed.policy, assumed.horizon)
    return summed_up(list(courses(assumed)), harmful_from)


def summed_up(found: list[Course], harmful_from: float | None) -> Estimate:
    """What courses come to; of harm from ``harmful_from`` on, None for none."""
    runs = len(found)
    stopped = [course for course in found if course.state is State.ROLLED_BACK]
    done = [course for course in found if course.state in {State.COMPLETED, State.PARTIAL}]
    rollbacks = [course.hours for course in stopped]
    delays = [
        hours - harmful_from
        for hours in rollbacks
        if harmful_from is not None and hours > harmful_from
    ]
    return Estimate(
        harmful_from=harmful_from,
        rolled_back=share(len(stopped), runs),
        false_rollback=share(len(stopped) - len(delays), runs),
        completed=share(len(done), runs),
        unfinished=share(runs - len(stopped) - len(done), runs),
        completion=median_of([course.hours for course in done]),
        rollback=median_of(rollbacks),
        detection_delay=median_of(delays),
        frozen=median_of([course.frozen_hours for course in found if course.frozen_hours]),
        stopped_by=dict(Counter(course.turns[-1].reason for course in stopped).most_common()),
    )
