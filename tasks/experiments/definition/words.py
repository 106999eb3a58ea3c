"""The words and values that a plan is made of: text, times and JSON that Postgres can hold."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

_BREAKS = re.compile(r"[\n\r\v\f\x85\u2028\u2029]")
# Those of Unicode that turn the direction of text, too: a name would not look like what it is.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
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


def _said(text: str) -> str:
    """Refuse a name that says nothing."""
    if not text.strip():
        raise ValueError("it is blank; say something that people will recognise")
    if "\0" in text:
        raise ValueError("it holds a NUL character, which cannot be stored; leave it out")
    return text


def _on_one_line(text: str) -> str:
    """Refuse a name that would break the lines of reports, messages and commands."""
    if _BREAKS.search(text):
        raise ValueError("it holds a line break; write it on one line")
    control = _CONTROLS.search(text)
    if control:
        raise ValueError(f"it holds the control character U+{ord(control[0]):04X}; leave it out")
    return text


_Told = Annotated[
    str,
    Field(max_length=255, json_schema_extra={"pattern": r"\S"}),  # the form refuses blanks too
    AfterValidator(_said),
]
Name = Annotated[_Told, AfterValidator(_on_one_line)]  # what people here call something
Key = _Told  # what something is called in the data of others, whatever that is
Words = Annotated[str, Field(pattern=r"^[^\x00]*$", max_length=1_000_000)]
Moment = Annotated[datetime, AfterValidator(_in_utc)]
Document = Annotated[dict[str, JsonValue], AfterValidator(_storable)]
Count = Annotated[int, Field(ge=1, le=LARGEST_COUNT)]
