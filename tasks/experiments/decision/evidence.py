"""What the winner rule looks at: counts, moments and earlier looks; nothing it has to fetch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.experiments.statistics.moments import SampleMean


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Quality(_Frozen):
    """Outcome of the data-quality suites over the experiment tables."""

    outcome: Literal["passed", "failed", "unknown"]
    message: str = ""


class Arm(_Frozen):
    """One variant as it stands now: its share of traffic, its units and their values."""

    name: str
    weight: Annotated[float, Field(ge=0)]
    assigned: Annotated[int, Field(ge=0)]
    n: Annotated[int, Field(ge=0)]  # units with a value
    mean: float
    m2: Annotated[float, Field(ge=0)]

    @property
    def moments(self) -> SampleMean:
        """The arm's sufficient statistics."""
        return SampleMean(self.n, self.mean, self.m2)


class Look(_Frozen):
    """An earlier look: how far the sample was, and the z of each treatment then."""

    number: Annotated[int, Field(ge=1)]
    fraction: Annotated[float, Field(ge=0)]
    is_usable: bool  # False where a gate was closed: it tested nothing and spent no alpha
    z: dict[str, float | None]
    planned_units: int | None = None  # the plan that it was judged by
    alpha: float | None = None


class WinnerEvidence(_Frozen):
    """Everything that the winner rule may know about one experiment and its primary metric."""

    experiment: str
    metric: str
    kind: str
    is_higher_better: bool
    alpha: Annotated[float, Field(gt=0, lt=1)]
    planned_units: Annotated[int, Field(ge=1)]  # units with a value, over all arms
    minimum_per_arm: Annotated[int, Field(ge=0)]
    control: Arm
    treatments: tuple[Arm, ...]
    looks: tuple[Look, ...] = ()
    quality: Quality

    @model_validator(mode="after")
    def _names_are_unique(self) -> WinnerEvidence:
        names = [arm.name for arm in self.arms]
        if len(set(names)) != len(names):
            raise ValueError("two arms have the same name")
        return self

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Control and treatments."""
        return (self.control, *self.treatments)

    @property
    def tested(self) -> tuple[Arm, ...]:
        """Treatments that get traffic; one that was switched off must not cost the others alpha."""
        return tuple(arm for arm in self.treatments if arm.weight > 0)

    @property
    def look_number(self) -> int:
        """Number of this look, from 1."""
        return max((look.number for look in self.looks), default=0) + 1

    @property
    def fraction(self) -> float:
        """Units with a value now / planned units, over all arms: the information fraction."""
        return sum(arm.n for arm in self.arms) / self.planned_units
