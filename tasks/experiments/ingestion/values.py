"""Values of a row: text, numbers, times, JSON, each read from whatever a source gives for it.

Every reader takes the raw value and its column's name, returns None for a blank, and raises
BrokenRow with a stable code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from math import isfinite
from typing import Any

MAX_USER_LENGTH = 255
MAX_NAME_LENGTH = 512  # an index of Postgres takes little more
MAX_DEPTH = 100  # of nested JSON: what is deeper cannot be walked through everywhere
MAX_VALUE = 1e100  # its square, which a variance needs, is still a double
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)
_FLAGS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


class BrokenRow(ValueError):
    """A row that cannot be loaded: a stable code and a sentence, with the row where it is known."""

    def __init__(self, code: str, message: str, raw: Any = None) -> None:
        self.code, self.message, self.raw = code, message, raw
        super().__init__(message)


def text_of(value: Any, column: str) -> str | None:
    """Text of a string or a whole number, as Postgres can hold it."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BrokenRow("bad-text", f"{column} must be text, not {type(value).__name__}")
    text = str(value)
    if not text.strip():
        return None
    if text != storable(text):
        raise BrokenRow("bad-text", f"{column} holds characters that are not valid text")
    return text


def user_of(value: Any, column: str) -> str | None:
    """The id of a unit."""
    user = text_of(value, column)
    if user is not None and len(user) > MAX_USER_LENGTH:
        message = f"{column} has {len(user)} characters; at most {MAX_USER_LENGTH} are allowed"
        raise BrokenRow("user-too-long", message)
    return user


def name_of(value: Any, column: str) -> str | None:
    """Text that events are found by: their type, or id."""
    name = text_of(value, column)
    if name is not None and len(name) > MAX_NAME_LENGTH:
        message = f"{column} has {len(name)} characters; at most {MAX_NAME_LENGTH} are allowed"
        raise BrokenRow("name-too-long", message)
    return name


def number_of(value: Any, column: str) -> float | None:
    """A finite number whose square is finite."""
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


def place_of(value: Any, column: str) -> float | None:
    """A number in [0, 1)."""
    place = number_of(value, column)
    if place is not None and not 0 <= place < 1:
        raise BrokenRow("bad-number", f"{column} lies in 0 to 1, not {place!r}")
    return place


def whole_of(value: Any, column: str) -> int | None:
    """A whole number from 0 that a bigint holds."""
    number = number_of(value, column)
    if number is None:
        return None
    if number != int(number) or not 0 <= number < 2**53:
        raise BrokenRow("bad-number", f"{column} is not a count: {value!s:.40}")
    return int(number)


def epoch_of(value: Any, column: str) -> int | None:
    """The number of an allocation, as the database holds it."""
    number = whole_of(value, column)
    if number is not None and number >= 2**31:
        raise BrokenRow("bad-number", f"{column} is not the number of an allocation: {number}")
    return number


def flag_of(value: Any, column: str) -> bool | None:
    """True or false, or words for them."""
    if value is None or value == "":
        return None
    flag = _FLAGS.get(str(value).strip().lower())
    if flag is None:
        raise BrokenRow("bad-flag", f"{column} is true or false, not {value!s:.40}")
    return flag


def moment_of(value: Any, column: str) -> datetime | None:
    """A time, in UTC."""
    if value is None or value == "":
        return None
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BrokenRow("bad-timestamp", f"{column} is not ISO 8601: {value!s:.40}") from None


def object_of(value: Any, column: str) -> str | None:
    """A JSON object, as text."""
    if value is None or value == "":
        return None
    try:
        found = parse_json(value) if isinstance(value, str) else value
    except ValueError:
        raise BrokenRow("bad-json", f"{column} is not JSON, or nested too deeply") from None
    if not isinstance(found, dict):
        raise BrokenRow("bad-json", f"{column} must be a JSON object")
    return dump(found)


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


def dump(value: Any) -> str:
    """JSON that Postgres can hold."""
    return json.dumps(storable(value), ensure_ascii=False, allow_nan=False)


def storable(value: Any) -> Any:
    """Return the value as Postgres can hold it as JSON: no NUL, no broken text, no NaN."""
    if isinstance(value, str):
        if value.isascii() and "\0" not in value:
            return value
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {storable(str(key)): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    return value if value is None or isinstance(value, bool | int) else str(value)
