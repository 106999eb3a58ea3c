"""What the winner rule looks at: the plan, counts, moments and earlier looks; nothing to fetch."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.experiments.metrics import ArmMoments
from tasks.experiments.quality.model import QualityCheck
from tasks.experiments.statistics.moments import SampleMean
from tasks.experiments.statistics.ratios import JointMoments

Role = Literal["primary", "secondary", "guardrail"]
_DAYS_A_WEEK = 7


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Terms(_Frozen):
    """What the error is spent by. Settled before the first look, and the same at every one."""

    alpha: Annotated[float, Field(gt=0, lt=1)]
    planned_units: Annotated[int, Field(ge=1)]  # units with a value, over all arms
    method: str = "group_sequential"
    method_options: dict[str, Any] = {}
    reserved_alpha: Annotated[float, Field(ge=0, lt=1)] = 0.0  # for the time after the plan


class Plan(_Frozen):
    """What was planned, and where on the calendar the experiment is."""

    terms: Terms
    policy: str = "select"
    minimum_per_arm: Annotated[int, Field(ge=0)] = 0
    minimum_weeks: Annotated[int, Field(ge=0)] = 0
    minimum_effect: float | None = None  # relative to the control
    power: Annotated[float, Field(gt=0, lt=1)] = 0.8
    tie_break_metric: str | None = None
    is_stopped_at_winner: bool = True
    is_open_ended: bool = False  # a holdout: only the calendar or a person ends it
    started_at: datetime | None = None
    ends_at: datetime | None = None
    now: datetime | None = None

    @property
    def full_weeks(self) -> int:
        """Whole weeks since the start; 0 where the start is unknown."""
        if self.started_at is None or self.now is None:
            return 0
        return max(0, (self.now - self.started_at).days // _DAYS_A_WEEK)

    @property
    def is_past_end(self) -> bool:
        """True once the planned end on the calendar has come."""
        return self.ends_at is not None and self.now is not None and self.now >= self.ends_at


class Pair(_Frozen):
    """A second value of each unit: its moments, and how it varies with the first one."""

    mean: float
    m2: Annotated[float, Field(ge=0)]
    c2: float  # sum of (value - mean) x (other - other mean)


class Cell(_Frozen):
    """The units of one arm: all of them, or those who came in one epoch."""

    n: Annotated[int, Field(ge=0)]  # units with a value
    mean: float
    m2: Annotated[float, Field(ge=0)]
    denominator: Pair | None = None
    covariate: Pair | None = None

    @property
    def moments(self) -> ArmMoments:
        """The sufficient statistics."""
        return ArmMoments(
            SampleMean(self.n, self.mean, self.m2),
            self._joint(self.denominator),
            self._joint(self.covariate),
        )

    def _joint(self, other: Pair | None) -> JointMoments | None:
        if other is None:
            return None
        return JointMoments(self.n, self.mean, self.m2, other.mean, other.m2, other.c2)


class Arm(Cell):
    """One variant as it stands now, by one metric."""

    name: str
    weight: Annotated[float, Field(ge=0)]
    assigned: Annotated[int, Field(ge=0)]
    events: Annotated[int | None, Field(ge=0)] = 0  # None: unknown, as is the next one
    converted: Annotated[int | None, Field(ge=0)] = 0  # units with at least one event


class Epoch(_Frozen):
    """Who came while one split held."""

    number: Annotated[int, Field(ge=1)]
    traffic: Annotated[int, Field(ge=0)]  # units with a value, over all arms
    arms: dict[str, Cell | None]  # None: the arm was not on offer


class Measured(_Frozen):
    """One metric of the experiment, with every arm by it."""

    name: str
    role: Role
    kind: str
    is_higher_better: bool = True
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    margin: Annotated[float, Field(ge=0)] | None = None  # guardrails; relative to the control
    control: Arm
    treatments: tuple[Arm, ...]
    epochs: tuple[Epoch, ...] = ()  # where the split moved: the arms are compared within them
    problem: str = ""  # why there are no figures; nothing may be decided on it then

    @model_validator(mode="after")
    def _names_are_unique(self) -> Measured:
        names = [arm.name for arm in self.arms]
        if len(set(names)) != len(names):
            raise ValueError("two arms have the same name")
        return self

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Control and treatments."""
        return (self.control, *self.treatments)

    def arm(self, name: str) -> Arm:
        """The treatment of this name."""
        return next(arm for arm in self.treatments if arm.name == name)


class Look(_Frozen):
    """An earlier look that tested something: how far the sample was, and each treatment's z."""

    number: Annotated[int, Field(ge=1)]
    fraction: Annotated[float, Field(ge=0)]
    z: dict[str, float | None]
    n: dict[str, int] = {}  # units with a value, by arm


class WinnerEvidence(_Frozen):
    """Everything that the winner rule may know about one experiment."""

    experiment: str
    experiment_id: str = ""
    plan: Plan
    primary: Measured
    secondaries: tuple[Measured, ...] = ()
    guardrails: tuple[Measured, ...] = ()
    checks: tuple[QualityCheck, ...]
    look_number: Annotated[int, Field(ge=1)] = 1
    looks: tuple[Look, ...] = ()  # those behind a closed gate tested nothing and are left out
    earlier_terms: Terms | None = None  # by which the latest of those looks was judged
    earlier_p_values: dict[str, float] = {}  # of each arm after it, before Holm; else worked out

    @property
    def tested(self) -> tuple[Arm, ...]:
        """Treatments that units came to, or will: they share alpha.

        One that was switched off keeps its part. Who drops the arms that look worst and gives the
        best one their alpha crowns a false winner more often than alpha.
        """
        return tuple(arm for arm in self.primary.treatments if arm.weight > 0 or arm.n > 0)

    @property
    def open_arms(self) -> tuple[Arm, ...]:
        """Treatments that get traffic: only they can win."""
        return tuple(arm for arm in self.primary.treatments if arm.weight > 0)

    @property
    def fraction(self) -> float:
        """Units with a value now / planned units, over all arms: the information fraction."""
        return sum(arm.n for arm in self.primary.arms) / self.plan.terms.planned_units
