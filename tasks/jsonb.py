"""How values are written to `jsonb` and `text` columns, so that they come back as they were."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json, to_jsonable_python

_ODD = re.compile(r"\\u0000|-0\.0(?!\d)")
"""What Postgres would not give back as it was: NUL, and the sign of nought."""


def text(value: str) -> str:
    """The string without what Postgres cannot hold: NUL becomes U+FFFD."""
    return value.replace("\0", "\ufffd")


def dump(value: Any) -> str:
    """Any value as JSON text that Postgres gives back unchanged and pydantic restores.

    NaN and infinities are written as strings ("NaN"), also inside models; -0.0 as 0.0, which is
    what jsonb makes of it; NUL characters as U+FFFD. Raises PydanticSerializationError for what
    has no JSON form.
    """
    written = to_json(_without_models(value), inf_nan_mode="strings").decode()
    if _ODD.search(written):  # seldom; the way through every value is slow
        written = to_json(_plain(value), inf_nan_mode="strings").decode()
    return written


def _without_models(value: Any) -> Any:
    # Taken apart here, because in JSON mode a model itself decides to write NaN as null.
    match value:
        case BaseModel():
            return value.model_dump(by_alias=True)
        case dict():
            return {key: _without_models(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_without_models(item) for item in value]
        case _ if is_dataclass(value) and not isinstance(value, type):
            return {
                field.name: _without_models(getattr(value, field.name)) for field in fields(value)
            }
        case _:
            return value


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int():
            return value
        case str():
            return text(value)
        case float():
            return value + 0.0
        case dict():
            return {_plain_key(key): _plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(item) for item in value]
        case BaseModel():
            return _plain(value.model_dump(by_alias=True))
        case _ if is_dataclass(value) and not isinstance(value, type):
            return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        case _:
            return to_jsonable_python(value)


def _plain_key(key: Any) -> str:
    if type(key) is str:  # nearly every one is; the way through pydantic is slow
        return text(key)
    (name,) = to_jsonable_python({key: None})
    return text(name)
