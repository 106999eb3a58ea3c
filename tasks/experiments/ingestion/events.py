"""Rows of assignments and events: what a row must hold, and why a broken one is kept aside.

Columns (CSV, JSON lines and Parquet alike; others are ignored):

    kind             assignment | event; without it, a row with an event_type is an event
    experiment       name; may be given for the whole file instead
    user_id          the unit, text of at most 255 characters
    variant          assignments: the arm; events: may be left out, else must be the unit's
    assigned_at      assignments: ISO 8601 (without a zone it is UTC)
    session_id  bucket_value  metadata        assignments, optional
    event_type  event_timestamp               events
    event_value  event_id  source  event_data  session_context     events, optional

An event without an ``event_id`` is known by its file's content and its row instead, so loading
the same file again changes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from math import isfinite
from typing import Any

from tasks.bucketing import bucket
from tasks.experiments.assignment.assigning import salt_of

MAX_USER_LENGTH = 255
MAX_DEPTH = 100  # of nested JSON: what is deeper cannot be walked through everywhere
MAX_VALUE = 1e100  # its square, which a variance needs, is still a double
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it goes to the database; with a reason code it is a rejected one."""

    line_number: int
    raw: str  # JSON
    kind: str | None = None
    experiment: str | None = None
    variant: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    moment: datetime | None = None
    bucket_value: float | None = None
    event_type: str | None = None
    event_value: float | None = None
    event_id: str | None = None
    source: str | None = None
    details: str | None = None  # metadata or event_data, JSON
    session_context: str | None = None
    reason_code: str | None = None
    message: str | None = None


class BrokenRow(ValueError):
    """A row that cannot be loaded: a stable code and a sentence, with the row where it is known."""

    def __init__(self, code: str, message: str, raw: Any = None) -> None:
        self.code, self.message, self.raw = code, message, raw
        super().__init__(message)


def parse_row(
    raw: Mapping[str, Any], line_number: int, experiment: str | None, fallback_id: str
) -> Row:
    """Turn a raw row into one that can be loaded, or into a rejected one with its reason."""
    try:
        return _parse(raw, line_number, experiment, fallback_id)
    except BrokenRow as broken:
        broken.raw = dict(raw)
        return rejected(broken, line_number)


def parse_json(text: str) -> Any:
    """Read JSON; ValueError where it is none, or is nested deeper than MAX_DEPTH."""
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if text.count("{") + text.count("[") > MAX_DEPTH and _depth(found) > MAX_DEPTH:
        raise ValueError("nested too deeply")
    return found


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [item for held in level for item in _items(held)]
    return depth


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def rejected(broken: BrokenRow, line_number: int) -> Row:
    """Make the row that keeps what could not be loaded, and why."""
    return Row(
        line_number, _dump(broken.raw), reason_code=broken.code, message=_storable(broken.message)
    )


def _parse(
    raw: Mapping[str, Any], line_number: int, experiment: str | None, fallback_id: str
) -> Row:
    kind = _kind(raw)
    name = _text(raw, "experiment") or experiment
    if name is None:
        raise BrokenRow("missing-experiment", "the row names no experiment, nor does the file")
    user = _user(raw)
    read = _assignment if kind == "assignment" else _event
    fields = read(raw, name, user, fallback_id)
    return Row(line_number, _dump(raw), kind=kind, experiment=name, user_id=user, **fields)


def _kind(raw: Mapping[str, Any]) -> str:
    kind = _text(raw, "kind") or ("event" if _text(raw, "event_type") else "assignment")
    if kind not in {"assignment", "event"}:
        raise BrokenRow("unknown-kind", f"kind is assignment or event, not {kind!r}")
    return kind


def _user(raw: Mapping[str, Any]) -> str:
    user = _text(raw, "user_id")
    if user is None:
        raise BrokenRow("missing-user", "the row has no user_id")
    if len(user) > MAX_USER_LENGTH:
        message = f"user_id has {len(user)} characters; at most {MAX_USER_LENGTH} are allowed"
        raise BrokenRow("user-too-long", message)
    return user


def _assignment(
    raw: Mapping[str, Any], experiment: str, user: str, _fallback_id: str
) -> dict[str, Any]:
    variant = _text(raw, "variant")
    if variant is None:
        raise BrokenRow("missing-variant", "an assignment names its variant")
    place = _number(raw, "bucket_value")
    if place is not None and not 0 <= place < 1:
        raise BrokenRow("bad-number", f"bucket_value lies in 0 to 1, not {place!r}")
    return {
        "variant": variant,
        "moment": _moment(raw, "assigned_at"),
        "bucket_value": bucket(salt_of(experiment), user) if place is None else place,
        "session_id": _text(raw, "session_id"),
        "details": _object(raw, "metadata"),
    }


def _event(
    raw: Mapping[str, Any], _experiment: str, _user: str, fallback_id: str
) -> dict[str, Any]:
    event_type = _text(raw, "event_type")
    if event_type is None:
        raise BrokenRow("missing-event-type", "an event names its event_type")
    return {
        "variant": _text(raw, "variant"),
        "event_type": event_type,
        "moment": _moment(raw, "event_timestamp"),
        "event_value": _number(raw, "event_value"),
        "event_id": _text(raw, "event_id") or fallback_id,
        "source": _text(raw, "source"),
        "details": _object(raw, "event_data"),
        "session_context": _object(raw, "session_context"),
    }


def _text(raw: Mapping[str, Any], column: str) -> str | None:
    value = raw.get(column)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BrokenRow("bad-text", f"{column} must be text, not {type(value).__name__}")
    text = str(value)
    if not text.strip():
        return None
    if text != _storable(text):
        raise BrokenRow("bad-text", f"{column} holds characters that are not valid text")
    return text


def _number(raw: Mapping[str, Any], column: str) -> float | None:
    value = raw.get(column)
    if value is None or value == "":
        return None
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value.strip()):
            raise BrokenRow("bad-number", f"{column} is not a number: {value[:40]!r}")
    elif isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise BrokenRow("bad-number", f"{column} is not a number: {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if not isfinite(number):
        raise BrokenRow("not-finite", f"{column} is {value!s:.40}: values must be finite")
    if abs(number) > MAX_VALUE:
        raise BrokenRow("bad-number", f"{column} is {value!s:.40}: beyond {MAX_VALUE:g}")
    return number


def _moment(raw: Mapping[str, Any], column: str) -> datetime:
    value = raw.get(column)
    if value is None or value == "":
        raise BrokenRow("missing-timestamp", f"the row has no {column}")
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BrokenRow("bad-timestamp", f"{column} is not ISO 8601: {value!s:.40}") from None


def _object(raw: Mapping[str, Any], column: str) -> str:
    value = raw.get(column)
    if value is None or value == "":
        return "{}"
    try:
        found = parse_json(value) if isinstance(value, str) else value
    except ValueError:
        raise BrokenRow("bad-json", f"{column} is not JSON, or nested too deeply") from None
    if not isinstance(found, dict):
        raise BrokenRow("bad-json", f"{column} must be a JSON object")
    return _dump(found)


def _dump(value: Any) -> str:
    return json.dumps(_storable(value), ensure_ascii=False, allow_nan=False)


def _storable(value: Any) -> Any:
    """Return the value as Postgres can hold it as JSON: no NUL, no broken text, no NaN."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {_storable(str(key)): _storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    return value if value is None or isinstance(value, bool | int) else str(value)
