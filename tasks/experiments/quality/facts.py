"""What the checks of one experiment look at: gathered figures, and what could not be gathered."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cached_property
from typing import Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from tasks.errors import HeadwayError
from tasks.experiments.quality.model import SuiteFindings

T = TypeVar("T")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class NotGathered(_Frozen):
    """A part of the facts that could not be read, and why."""

    reason: str


class MissingFacts(HeadwayError):
    """A check needs what could not be gathered, or is not there yet: it is unknown."""


class Arm(_Frozen):
    """A variant."""

    name: str
    is_control: bool


class Share(_Frozen):
    """One arm's weight in each epoch of the allocation log; a bandit has many of them."""

    arm: str
    epochs: tuple[int, ...]
    weights: tuple[float, ...]


class Metric(_Frozen):
    """A metric of the experiment. One that somebody else aggregated has no events of its own."""

    name: str
    role: Literal["primary", "secondary", "guardrail"]
    event_type: str
    missing: Literal["exclude", "zero"]
    has_covariate: bool
    is_aggregated: bool
    is_higher_better: bool = True


class Aggregate(_Frozen):
    """A metric that somebody else aggregated, and up to when each arm is known."""

    metric: str
    role: Literal["primary", "secondary", "guardrail"]
    arms: tuple[str, ...]
    known_to: tuple[datetime | None, ...]  # of each arm
    compared_at: datetime | None  # the newest moment that all arms have
    own_units: int  # units of the experiment's own, which alone count


class Count(_Frozen):
    """Sufficient statistics of one arm (dimension and level ''), or of one level of it."""

    metric: str
    arm: str
    dimension: str
    level: str
    assigned: int
    events: int
    converted: int  # units with an event
    n: int  # units with a value
    covariate_mean: float
    covariate_m2: float
    mean: float = 0.0  # of the values; read of whole arms alone
    windows_open: int = 0  # of an arm without any event: units whose window is not over yet
    closes_at: datetime | None = None  # the first of these windows


class EpochCounts(_Frozen):
    """Sufficient statistics of one arm by the primary metric, in each epoch that chose it."""

    arm: str
    epochs: tuple[int, ...]
    assigned: tuple[int, ...]
    n: tuple[int, ...]
    covariate_mean: tuple[float, ...]
    covariate_m2: tuple[float, ...]


class LevelCount(_Frozen):
    """Units of one level, arm and epoch; read only where the split has changed."""

    dimension: str
    level: str
    epoch: int
    arm: str
    assigned: int


class Arrival(_Frozen):
    """When the last event of a type came, and how long it usually takes until the next one.

    ``usual_seconds`` is the second longest wait that was seen at this time of the day in the two
    weeks before: a weekly pause is usual, an outage that happened once is not.
    """

    event_type: str
    last_at: datetime | None
    usual_seconds: float | None


class Sampled(_Frozen):
    """Events of the units that had the newest ones."""

    event_type: str
    rows: int
    repeated: int  # rows beyond the first of the same unit, value and time
    units: int
    strayed_units: int  # units with events of an arm that is not theirs
    is_rounded: bool  # no time has seconds


class Units(_Frozen):
    """A number of units."""

    units: int


class SharedUnits(_Frozen):
    """Units that are also in another experiment of the same layer."""

    layer: str
    other: str
    units: int


class Calibrated(_Frozen):
    """The latest calibration of a metric that decides, on this experiment's units."""

    metric: str
    verdict: Literal["kept", "broken", "unknown"]
    calibrated_at: datetime
    reason: str


class ExperimentFacts(_Frozen):
    """One experiment, as gathered at one moment."""

    experiment_id: UUID
    experiment: str
    status: str
    started_at: datetime | None
    now: datetime
    is_bandit: bool = False  # its split follows its figures
    variants: tuple[Arm, ...] | NotGathered = ()
    shares: tuple[Share, ...] | NotGathered = ()
    metrics: tuple[Metric, ...] | NotGathered = ()
    aggregates: tuple[Aggregate, ...] | NotGathered = ()
    counts: tuple[Count, ...] | NotGathered = ()
    epoch_counts: tuple[EpochCounts, ...] | NotGathered = ()
    level_counts: tuple[LevelCount, ...] | NotGathered = ()
    arrivals: tuple[Arrival, ...] | NotGathered = ()
    sampled: tuple[Sampled, ...] | NotGathered = ()
    rejected: tuple[Units, ...] | NotGathered = ()  # rows that named another arm than the unit's
    overridden: tuple[Units, ...] | NotGathered = ()
    shared: tuple[SharedUnits, ...] | NotGathered = ()
    calibrations: tuple[Calibrated, ...] | NotGathered = ()
    suites: SuiteFindings | NotGathered = NotGathered(reason="the suites were not run")

    @property
    def age_hours(self) -> float | None:
        """Hours since the start; None before it."""
        return None if self.started_at is None else hours(self.now - self.started_at)

    @cached_property
    def weights(self) -> dict[int, dict[str, float]]:
        """Epoch, in order, then arm, to weight; raises MissingFacts."""
        found: dict[int, dict[str, float]] = {}
        for share in need(self.shares):
            for epoch, weight in zip(share.epochs, share.weights, strict=True):
                found.setdefault(epoch, {})[share.arm] = weight
        return dict(sorted(found.items()))

    def is_switched_off(self, arm: str) -> bool:
        """Whether the arm gets nobody new: its weight is 0 in the newest epoch."""
        newest = list(self.weights.values())[-1:]
        return bool(newest) and newest[0].get(arm, 0.0) <= 0

    def whole_arms(self, metric: str) -> dict[str, Count]:
        """The figures of each arm as a whole, by name; raises MissingFacts where not gathered."""
        rows = need(self.counts)
        return {row.arm: row for row in rows if row.metric == metric and row.dimension == ""}

    @property
    def primary(self) -> Metric:
        """The primary metric; raises MissingFacts without one."""
        for metric in need(self.metrics):
            if metric.role == "primary":
                return metric
        raise MissingFacts("the experiment has no primary metric")


def need(part: T | NotGathered) -> T:
    """The part, if it could be gathered; raises MissingFacts with the reason if not."""
    if isinstance(part, NotGathered):
        raise MissingFacts(part.reason)
    return part


def hours(span: timedelta) -> float:
    """A span of time in hours."""
    return span / timedelta(hours=1)
