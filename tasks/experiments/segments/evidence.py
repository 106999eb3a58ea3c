"""What is known of segments: a metric in each level, and how the effects came out."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tasks.experiments.decision.evidence import Cell, Epoch

Finding = Literal["differs", "none-seen", "unknown"]
OTHER, NONE = "(other)", "(none)"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class SegmentCell(_Frozen):
    """One arm in one level of one dimension."""

    dimension: str
    level: str
    arm: str
    cell: Cell


class SegmentEpochs(_Frozen):
    """Who came into one level while each split held."""

    dimension: str
    level: str
    epochs: tuple[Epoch, ...]  # in order; those in which nobody came are left out


class SegmentEvidence(_Frozen):
    """One metric of an experiment by segment."""

    metric: str
    role: str
    kind: str
    alpha: float
    is_higher_better: bool
    control: str
    treatments: tuple[str, ...]
    cells: tuple[SegmentCell, ...]  # an arm without units in a level is left out
    epochs: tuple[SegmentEpochs, ...] = ()  # where the split moved: arms are compared within them
    problem: str = ""  # why the levels cannot be compared


class SegmentTest(_Frozen):
    """Whether the effect of one arm differs between the levels of one dimension."""

    dimension: str
    arm: str
    levels: int  # that were tested
    left_out: tuple[str, ...]
    q: float | None
    dof: int
    p_value: float | None
    p_adjusted: float | None  # Holm over all dimensions and arms of the metric
    finding: Finding
    message: str


class SegmentEffect(_Frozen):
    """The effect of one arm in one level; what is None is unknown, and ``note`` says why."""

    dimension: str
    level: str
    arm: str
    control_units: int  # with a value, as the next
    units: int
    control_value: float | None
    value: float | None
    difference: float | None
    lower: float | None  # of a level by itself
    upper: float | None
    lift: float | None
    p_value: float | None
    p_adjusted: float | None  # Holm over the levels and arms of the dimension
    is_tested: bool
    outcome: Literal["better", "harm", "open"]
    note: str


class MetricSegments(_Frozen):
    """One metric by segment."""

    metric: str
    role: str
    kind: str
    alpha: float
    problem: str
    is_within_epochs: bool = False  # the split has moved: differences are not those of the values
    tests: tuple[SegmentTest, ...]
    effects: tuple[SegmentEffect, ...]


class Segments(_Frozen):
    """An experiment by segment, every metric of it."""

    experiment: str
    as_of: datetime
    dimensions: tuple[str, ...]
    metrics: tuple[MetricSegments, ...]
    cut_out: tuple[str, ...]  # the experiments that are for one segment of this one
