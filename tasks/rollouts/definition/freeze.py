"""When no rollout may take a step up: once, or every week."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"there is no time zone {name!r}; one is Europe/Berlin") from None
    return name


class FreezeOnce(BaseModel):
    """No step up from ``since`` to before ``until``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    since: AwareDatetime
    until: AwareDatetime

    @model_validator(mode="after")
    def _lasts(self) -> FreezeOnce:
        if self.until <= self.since:
            raise ValueError(f"a freeze ends after it began, not at {self.until.isoformat()}")
        return self

    def covers(self, moment: datetime) -> bool:
        """Tell whether no step up may be taken at ``moment``."""
        return self.since <= moment < self.until

    def __str__(self) -> str:
        return f"from {self.since:%F %H:%M %Z} to {self.until:%F %H:%M %Z}"


class FreezeWeekly(BaseModel):
    """No step up from a weekday and time to before another, every week, by a place's clock."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    from_day: Weekday
    from_time: time
    to_day: Weekday
    to_time: time
    timezone: Annotated[str, Field(min_length=1), AfterValidator(_known_zone)] = "UTC"

    @model_validator(mode="after")
    def _lasts(self) -> FreezeWeekly:
        if self.from_time.tzinfo or self.to_time.tzinfo:
            raise ValueError(
                "the times of a weekly freeze are those of its timezone; leave +00 out"
            )
        if self._place(self.from_day, self.from_time) == self._place(self.to_day, self.to_time):
            raise ValueError("a weekly freeze cannot begin and end at the same moment")
        return self

    def covers(self, moment: datetime) -> bool:
        """Tell whether no step up may be taken at ``moment``."""
        local = moment.astimezone(ZoneInfo(self.timezone))
        place = self._place(_WEEKDAYS[local.weekday()], local.time())
        begins = self._place(self.from_day, self.from_time)
        ends = self._place(self.to_day, self.to_time)
        if begins < ends:
            return begins <= place < ends
        return place >= begins or place < ends

    @staticmethod
    def _place(day: str, at: time) -> timedelta:
        days, seconds = _WEEKDAYS.index(day), at.hour * 3600 + at.minute * 60 + at.second
        return timedelta(days=days, seconds=seconds, microseconds=at.microsecond)

    def __str__(self) -> str:
        begins, ends = (
            f"{self.from_day} {self.from_time:%H:%M}",
            f"{self.to_day} {self.to_time:%H:%M}",
        )
        return f"{begins} to {ends} ({self.timezone})"


Freeze = FreezeOnce | FreezeWeekly
