"""What was measured of a version, and what a check made of it: healthy, unhealthy, or not known."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from tasks.errors import Reason
from tasks.rollouts.definition.policy import Action, Finite, Operator

Count = Annotated[int, Field(ge=0)]


class Health(StrEnum):
    """The verdict on a version; only evidence of health is healthy."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    INCONCLUSIVE = "inconclusive"


class Measured(BaseModel):
    """What one metric of one version adds up to inside a window; no row values.

    ``value_sum`` over ``sample_count`` is the mean of the samples that came with a count (a rate is
    the mean of noughts and ones); ``square_sum`` adds up their squares, None where a sample came
    without. ``given_value`` is a value as a source gave it, or the mean of several; ``given_count``
    says on how many observations it rests, None where that was not said. ``broken_rows`` counts
    samples that are no finite number; they are in none of the sums. ``source_error`` says why
    nothing could be read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value_sum: Finite = 0.0
    square_sum: Finite | None = None
    sample_count: Count = 0
    given_value: Finite | None = None
    given_count: Count | None = None
    given_rows: Count = 0
    broken_rows: Count = 0
    source_error: str | None = None

    @property
    def value(self) -> float | None:
        """Mean of the counted samples; None without any."""
        return self.value_sum / self.sample_count if self.sample_count > 0 else None


class Reading(BaseModel):
    """What a check's source said of the window [start, end): of the version, and of its control.

    ``control`` is None where the rollout names no control or the source cannot tell them apart.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    check: str
    canary: Measured
    control: Measured | None = None
    window_start: AwareDatetime
    window_end: AwareDatetime


class Judgement(BaseModel):
    """One guard's view of one check. ``evidence`` holds the figures behind it, by name.

    ``is_shared`` says that the control suffers as well: the version is not to blame.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    guard: str
    health: Health
    reason: Reason
    evidence: dict[str, Finite] = {}
    is_shared: bool = False


class CheckResult(BaseModel):
    """One check's verdict, with everything that a person needs to follow it.

    ``judgement`` is the acting guard's, ``shadow`` the other one's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    check: str
    judgement: Judgement
    shadow: Judgement | None = None
    value: float | None = None
    sample_count: int | None = None
    control_value: float | None = None
    control_count: int | None = None
    operator: Operator | None = None
    limit: float
    min_samples: int
    action: Action = "rollback"
    is_shadow: bool = False
    window_start: AwareDatetime
    window_end: AwareDatetime

    @property
    def health(self) -> Health:
        """The acting guard's verdict."""
        return self.judgement.health

    @property
    def reason(self) -> Reason:
        """Why, in the acting guard's words."""
        return self.judgement.reason
