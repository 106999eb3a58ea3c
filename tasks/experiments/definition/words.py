"""The words and values that a plan is made of: text, times and JSON that Postgres can hold."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError

NAME_PATTERN = r"^[^\x00]*[^\s\x00][^\x00]*$"
LARGEST_COUNT = 2**53  # beyond it a float no longer tells two counts apart


class Planned(BaseModel):
    """A part of a plan: it does not change, and what is misspelt is not silently dropped."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _in_utc(moment: datetime) -> datetime:
    """The same moment in UTC; a time without a zone is one in UTC."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("the time lies outside the years 1 to 9999") from None


def _storable(document: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Refuse what jsonb cannot hold: NaN, infinities, NUL, and what nests too deeply."""
    try:
        text = json.dumps(document, allow_nan=False)
    except RecursionError:
        raise ValueError("the document nests too deeply") from None
    except ValueError as error:
        raise ValueError(f"it cannot be stored as JSON: {error}") from None
    if "\\u0000" in text:
        raise ValueError("a NUL character cannot be stored")
    return document


def problems(error: ValidationError) -> str:
    """What does not fit a model and where, on one line; without the values, which may be long."""
    found = []
    for each in error.errors(include_url=False, include_input=False, include_context=False):
        place = "".join(
            f"[{part}]" if isinstance(part, int) else f".{part}" for part in each["loc"]
        )
        message = each["msg"].removeprefix("Value error, ")
        found.append(f"{place.removeprefix('.')}: {message}" if place else message)
    return "; ".join(found)


Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=255)]
Words = Annotated[str, Field(pattern=r"^[^\x00]*$", max_length=1_000_000)]
Moment = Annotated[datetime, AfterValidator(_in_utc)]
Document = Annotated[dict[str, JsonValue], AfterValidator(_storable)]
Count = Annotated[int, Field(ge=1, le=LARGEST_COUNT)]
