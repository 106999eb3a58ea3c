"""What the scan for interactions looks at, and what it says of each pair of experiments."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tasks.experiments.metrics import ArmMoments
from tasks.experiments.statistics.moments import SampleMean
from tasks.experiments.statistics.ratios import JointMoments

Outcome = Literal["interacts", "dependent", "adds-up", "unknown"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Denominator(_Frozen):
    """The second value of each unit, and how it varies with the first one."""

    mean: float
    m2: Annotated[float, Field(ge=0)]
    c2: float


class Cell(_Frozen):
    """Units that got these arms in the first and the second experiment, by one metric."""

    first_arm: str
    second_arm: str
    n: Annotated[int, Field(ge=0)]  # units with a value
    mean: float = 0.0
    m2: Annotated[float, Field(ge=0)] = 0.0
    denominator: Denominator | None = None

    @property
    def moments(self) -> ArmMoments:
        """The sufficient statistics."""
        value, other = SampleMean(self.n, self.mean, self.m2), self.denominator
        if other is None:
            return ArmMoments(value)
        joint = JointMoments(self.n, self.mean, self.m2, other.mean, other.m2, other.c2)
        return ArmMoments(value, joint)


class MeasuredCells(_Frozen):
    """The primary metric of one of the two, in every cell."""

    experiment: str
    metric: str
    kind: str
    cells: tuple[Cell, ...]


class Met(_Frozen):
    """How many units got these two arms, whether or not they have a value."""

    first_arm: str
    second_arm: str
    units: Annotated[int, Field(ge=0)]


class SharedUnits(_Frozen):
    """Two experiments, by name, and the units that both have."""

    first: str
    second: str
    first_arms: tuple[str, ...]  # the control first
    second_arms: tuple[str, ...]
    met: tuple[Met, ...]
    measured: tuple[MeasuredCells, ...]
    moved: tuple[str, ...] = ()  # those of the two whose split has changed

    @property
    def units(self) -> int:
        """Units in both."""
        return sum(each.units for each in self.met)


class ScanEvidence(_Frozen):
    """All pairs that are looked at; ``overlapping`` pairs share units, also those left out."""

    alpha: Annotated[float, Field(gt=0, lt=1)]
    overlapping: Annotated[int, Field(ge=0)]
    pairs: tuple[SharedUnits, ...]


class Difference(_Frozen):
    """How much more an arm does in units that have the other one's arm: 0 if effects add up."""

    first_arm: str
    second_arm: str
    value: float | None
    lower: float | None
    upper: float | None


class MetricTest(_Frozen):
    """Whether effects on one metric add up; p-values are None where it is unknown."""

    experiment: str
    metric: str
    p_value: float | None
    p_adjusted: float | None  # Holm over all pairs and metrics
    differences: tuple[Difference, ...]


class PairFinding(_Frozen):
    """What the scan says of two experiments."""

    first: str
    second: str
    units: int
    outcome: Outcome
    message: str
    metrics: tuple[MetricTest, ...]
    independence: float | None  # adjusted p-value that the arms go by no rule together

    @property
    def name(self) -> str:
        """Both names."""
        return f"{self.first} and {self.second}"
