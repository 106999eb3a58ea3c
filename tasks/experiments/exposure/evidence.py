"""What is known of each day since exposure, and what becomes of an effect."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tasks.experiments.statistics.moments import SampleMean
from tasks.experiments.statistics.ratios import JointMoments

Outcome = Literal["fades", "grows", "steady", "unknown"]


@dataclass(frozen=True, slots=True)
class ExposedArm:
    """One arm: all its units that were followed, each of them on every day.

    ``days`` holds value and denominator of the units that have a value on that day. ``slopes`` are
    the units' parts in the slope of the arm's value over the days: what remains of a unit's values
    after the arm's own value on that day, weighted as a straight line weighs the days.
    """

    name: str
    units: int
    days: tuple[JointMoments, ...]
    slopes: SampleMean
    is_offered: bool = True


Intake = dict[str, ExposedArm]
"""Who came while one split held, by arm, the control first."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class DayEffect(_Frozen):
    """The effect of one arm on one day since exposure; day 0 is the first 24 hours."""

    day: int
    arm: str
    control_units: int  # with a value on that day, as the next
    units: int
    control_value: float | None
    value: float | None
    difference: float | None
    lower: float | None  # of the day by itself
    upper: float | None


class Trend(_Frozen):
    """What becomes of the effect of one arm.

    ``change`` is that of a straight line through the effects of all days, its slope times the days
    from the first to the last: not ``late`` less ``early``.
    """

    arm: str
    outcome: Outcome
    message: str
    average: float | None  # effect of a day, over all days
    span: int | None  # how many days the next two are over: a third of all
    early: float | None  # effect of a day, over the first days
    late: float | None  # and over the last ones
    change: float | None  # along the line, from the first to the last day
    lower: float | None  # interval of the change
    upper: float | None
    p_value: float | None
    p_adjusted: float | None  # Holm over the arms


class Novelty(_Frozen):
    """The primary metric of an experiment by days since exposure."""

    experiment: str
    as_of: datetime
    metric: str
    kind: str
    alpha: float
    first_day: int
    followed_days: int  # every unit was followed up to this day, which is not part of it
    units: dict[str, int]  # by arm
    units_in_all: int  # of the experiment, also those who came too late to be followed
    problem: str
    is_within_epochs: bool = False  # the split has moved: differences are not those of the values
    days: tuple[DayEffect, ...]
    trends: tuple[Trend, ...]
