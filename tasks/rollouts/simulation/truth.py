"""What is true of a version while its rollout is simulated: how bad it and its control are, when.

Nothing here is measured: what a rollout would see of it is drawn by `traffic`.
"""

from __future__ import annotations

from math import ceil
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.rollouts.definition.naming import Name
from tasks.rollouts.definition.policy import CheckPolicy, Finite, RolloutPolicy
from tasks.rollouts.guard.judging import question_of
from tasks.rollouts.guard.model import Question


class Level(BaseModel):
    """Where one check stands from an hour of the rollout on, until another level takes over.

    ``control`` is the control's, taken to be the same where it is not stated. ``deviation`` is that
    of single values of a mean, by default half the mean. ``drift_per_hour`` is added to the
    version's for every hour, as far as its values go.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    check: Name
    canary: Finite
    control: Finite | None = None
    deviation: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    from_hour: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    until_hour: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    drift_per_hour: Finite = 0.0

    def canary_at(self, hour: float) -> float:
        """The version's level, its drift included."""
        return self.canary + self.drift_per_hour * (hour - self.from_hour)

    @property
    def of_control(self) -> float:
        """The control's level."""
        return self.canary if self.control is None else self.control

    def deviation_at(self, mean: float) -> float:
        """The standard deviation of single values."""
        return abs(mean) / 2 if self.deviation is None else self.deviation


class Truth(BaseModel):
    """What is true, and how many requests there are of all versions together.

    Of the levels of one check that hold at an hour the last one named counts, so that an outage is
    one more level with its hours. Without ``has_control`` nobody measures the old version.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    levels: Annotated[tuple[Level, ...], Field(min_length=1)]
    requests_per_hour: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)] = 2000.0
    has_control: bool = True

    @model_validator(mode="after")
    def _levels_end_after_they_begin(self) -> Truth:
        for level in self.levels:
            if level.until_hour is not None and level.until_hour <= level.from_hour:
                raise ValueError(
                    f"{level.check} ends at hour {level.until_hour:g}, but begins at hour "
                    f"{level.from_hour:g}"
                )
        return self

    def level(self, check: str, hour: float) -> Level | None:
        """The level of a check at an hour; None if nothing is measured of it then."""
        holding = [
            each
            for each in self.levels
            if each.check == check
            and each.from_hour <= hour
            and (each.until_hour is None or hour < each.until_hour)
        ]
        return holding[-1] if holding else None

    def harmful_from(self, policy: RolloutPolicy, hours: float) -> float | None:
        """The first hour at which the version itself does harm by a check that may roll it back.

        It is worse than its control; or, where that is not stated or measured, not on the good side
        of the limit. What its control is stated to suffer alike is not its harm.
        """
        acting = [
            (check, question_of(check, policy, 1))
            for check in policy.checks
            if check.action == "rollback" and not check.is_shadow
        ]
        hourly = set(map(float, range(ceil(hours))))
        for hour in sorted(hourly | {each.from_hour for each in self.levels}):
            if any(self._is_harmful(check, question, hour) for check, question in acting):
                return hour
        return None

    def _is_harmful(self, check: CheckPolicy, question: Question, hour: float) -> bool:
        level = self.level(check.name, hour)
        if level is None:
            return False
        canary = level.canary_at(hour)
        if not self.has_control or level.control is None:
            return not question.passes(canary)
        worse = canary - level.of_control
        return worse > 0 if question.is_low_good else worse < 0
