"""Rows of assignments and events: what a row must hold, and why a broken one is kept aside.

Columns (whatever the source; others are ignored):

    kind             assignment | event; without it, a row with an event_type is an event
    experiment       name; may be given for the whole source instead
    user_id          the unit, text of at most 255 characters
    variant          assignments: the arm; events: may be left out, else must be the unit's
    assigned_at      assignments: ISO 8601 (without a zone it is UTC)
    session_id  bucket_value  metadata  epoch  is_override         assignments, optional
    event_type  event_timestamp                                    events
    event_value  event_id  source  event_data  session_context     events, optional

The type and the id of an event have at most 512 characters.

An event without an ``event_id`` is known by its source's content and its row instead, so loading
the same content again changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tasks.experiments.ingestion.values import (
    BrokenRow,
    dump,
    epoch_of,
    flag_of,
    moment_of,
    name_of,
    number_of,
    object_of,
    place_of,
    storable,
    text_of,
    user_of,
)


@dataclass(frozen=True, slots=True)
class Field:
    """A column of `incoming_row`: where its value stands in a row, and how it is read."""

    target: str
    column: str
    read: Callable[[Any, str], Any]
    missing: tuple[str, str] | None = None  # code and sentence for a row without it

    def value(self, raw: Any) -> Any:
        """The value, None where there is none; BrokenRow says what is wrong with it."""
        found = self.read(raw, self.column)
        if found is None and self.missing is not None:
            raise BrokenRow(*self.missing)
        return found


_COMMON = (
    Field("experiment", "experiment", text_of),
    Field("user_id", "user_id", user_of, ("missing-user", "the row has no user_id")),
)
# In the order in which a row's first trouble is named.
FIELDS = {
    "assignment": (
        *_COMMON,
        Field(
            "variant",
            "variant",
            text_of,
            ("missing-variant", "an assignment names its variant"),
        ),
        Field("bucket_value", "bucket_value", place_of),
        Field(
            "moment",
            "assigned_at",
            moment_of,
            ("missing-timestamp", "the row has no assigned_at"),
        ),
        Field("session_id", "session_id", text_of),
        Field("details", "metadata", object_of),
        Field("epoch", "epoch", epoch_of),
        Field("is_override", "is_override", flag_of),
    ),
    "event": (
        *_COMMON,
        Field(
            "event_type",
            "event_type",
            name_of,
            ("missing-event-type", "an event names its event_type"),
        ),
        Field("variant", "variant", text_of),
        Field(
            "moment",
            "event_timestamp",
            moment_of,
            ("missing-timestamp", "the row has no event_timestamp"),
        ),
        Field("event_value", "event_value", number_of),
        Field("event_id", "event_id", name_of),
        Field("source", "source", text_of),
        Field("details", "event_data", object_of),
        Field("session_context", "session_context", object_of),
    ),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it goes to the database; with a reason code it is a rejected one."""

    line_number: int
    raw: str = ""  # JSON, of a rejected row
    kind: str | None = None
    experiment: str | None = None
    variant: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    moment: datetime | None = None
    bucket_value: float | None = None
    epoch: int | None = None
    is_override: bool | None = None
    event_type: str | None = None
    event_value: float | None = None
    event_id: str | None = None
    source: str | None = None
    details: str | None = None  # metadata or event_data, JSON
    session_context: str | None = None
    reason_code: str | None = None
    message: str | None = None


def parse_row(raw: Mapping[str, Any], line_number: int, experiment: str | None) -> Row:
    """Turn a raw row into one that can be loaded, or into a rejected one with its reason."""
    try:
        kind = kind_of(text_of(raw.get("kind"), "kind"), lambda: raw.get("event_type"))
        values: dict[str, Any] = {}
        for field in FIELDS[kind]:
            found = field.value(raw.get(field.column))
            if field.target == "experiment":
                found = experiment_of(found, experiment)
            values[field.target] = found
        return Row(line_number, kind=kind, **values)
    except BrokenRow as broken:
        broken.raw = dict(raw)
        return rejected(broken, line_number)


def kind_of(said: str | None, event_type: Callable[[], Any]) -> str:
    """The kind of a row: what it says, else an event if it has a type."""
    kind = said or ("event" if text_of(event_type(), "event_type") else "assignment")
    if kind not in FIELDS:
        raise BrokenRow("unknown-kind", f"kind is assignment or event, not {kind!r}")
    return kind


def experiment_of(said: str | None, whole: str | None) -> str:
    """The experiment of a row: what it says, else that of the whole source."""
    name = said or whole
    if name is None:
        raise BrokenRow("missing-experiment", "the row names no experiment, nor does the file")
    return name


def rejected(broken: BrokenRow, line_number: int) -> Row:
    """Make the row that keeps what could not be loaded, and why."""
    return Row(
        line_number, dump(broken.raw), reason_code=broken.code, message=storable(broken.message)
    )
