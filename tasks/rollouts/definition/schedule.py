"""The stages of a rollout: which percentage, for how many hours."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import pairwise
from typing import Annotated, Any, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from tasks.errors import InputError
from tasks.misfits import problems

TOLERANCE_SECONDS = 60.0
"""An hourly tick that comes a little early must not cost a whole hour."""

_EXAMPLE = "'5/2h,25/4h,100/24h'"
_STAGE = re.compile(r"\s*(?P<percentage>-?[0-9.]+)\s*/\s*(?P<hours>-?[0-9.]+)\s*h\s*")


class Stage(BaseModel):
    """One stage: the percentage of users (above 0, at most 100) and the hours it lasts at least."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    percentage: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
    hours: Annotated[float, Field(ge=0, le=24 * 366, allow_inf_nan=False)]


class Schedule(BaseModel):
    """The stages in their order, each with more users than the one before.

    Written as text (``5/2h,25/4h``), as a list of stages, or as ``{"stages": […]}``.

    The hours of the last stage are the bake: only after them is the rollout finished. A last stage
    below 100 % is allowed; such a rollout ends as ``partial``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stages: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=100)]

    @model_validator(mode="before")
    @classmethod
    def _written_in_any_form(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"stages": _stages(given)}
        if isinstance(given, list | tuple):
            return {"stages": given}
        if not isinstance(given, dict | Schedule):
            raise ValueError(f"a schedule looks like {_EXAMPLE}")  # noqa: TRY004 - pydantic's way
        return given

    @model_validator(mode="after")
    def _percentages_increase(self) -> Schedule:
        for earlier, later in pairwise(self.stages):
            if later.percentage <= earlier.percentage:
                raise ValueError(
                    f"percentages must increase, but {later.percentage:g} % follows "
                    f"{earlier.percentage:g} %"
                )
        return self

    def __str__(self) -> str:
        return ",".join(f"{stage.percentage:.15g}/{stage.hours:.15g}h" for stage in self.stages)

    @property
    def last(self) -> int:
        """Index of the last stage."""
        return len(self.stages) - 1

    def position(self, percentage: float) -> int:
        """Index of the last stage that has at most ``percentage``; -1 below the first."""
        return sum(stage.percentage <= percentage for stage in self.stages) - 1


def _lasting(schedule: Schedule) -> Schedule:
    """Refuse a stage that nobody would be watched in: it was left out, or is a slip."""
    for number, stage in enumerate(schedule.stages[:-1], start=1):
        if stage.hours == 0:
            percentage = f"{stage.percentage:g}"
            raise ValueError(
                f"stage {number} ({percentage} %) has no hours: write {percentage}/1h, say, or "
                "leave it out; only the last may have none, and is completed by its first healthy "
                "tick"
            )
    return schedule


Planned: TypeAlias = Annotated[Schedule, AfterValidator(_lasting)]
"""A schedule as it is planned now; what is stored may be older than a rule."""

_PLANNED: TypeAdapter[Schedule] = TypeAdapter(Planned)


def parse_schedule(text: str) -> Schedule:
    """Read a schedule such as ``5/2h,25/4h,100/24h``: percentage/hours, comma-separated.

    Raise InputError that says what is wrong with it.
    """
    try:
        return _PLANNED.validate_python(text)
    except ValidationError as error:
        told = problems(error, Schedule)
        raise InputError(f"schedule {text[:200]!r} cannot be used: {told}") from None


def _stages(text: str) -> list[dict[str, Any]]:
    matches = [_STAGE.fullmatch(part) for part in text.split(",")]
    if not all(matches):
        raise ValueError(f"a schedule looks like {_EXAMPLE}, not {text[:200]!r}")
    return [match.groupdict() for match in matches if match]


DEFAULT_SCHEDULE = "5/2h,25/4h,50/8h,75/12h,100/24h"


def slot_of(moment: datetime) -> str:
    """Name the hour that ``moment`` lies in, as the hourly tick does: ``2026-11-20T14:00Z``."""
    return _slot(moment.replace(minute=0))


def parse_slot(text: str, latest: datetime | None = None) -> str:
    """Normalise the time that names a tick to UTC minutes, so that slots sort as times do.

    InputError for what is no time, and for one after ``latest``: a slot decided in advance would
    make every tick until then come too late, and nobody would guard the rollout.
    """
    try:
        moment = datetime.fromisoformat(text)
        slot = _slot(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise InputError(f"a slot is a time such as 2026-11-20T14:00Z, not {text!r}") from None
    if latest is not None and slot > _slot(latest):
        raise InputError(f"slot {slot} is still to come: it is {_slot(latest)}")
    return slot


def _slot(moment: datetime) -> str:
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='minutes')}Z"
