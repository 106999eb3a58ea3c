"""What is written to jsonb comes back as it was."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from pydantic_core import PydanticSerializationError

from tasks import jsonb


class Model(BaseModel):
    share: float = 0.5
    anything: Any = None
    many: dict[str, Any] = {}
    named: int = Field(default=1, alias="otherName")


@dataclass(frozen=True)
class Data:
    model: Model
    number: float


class Kind(StrEnum):
    GOOD = "good"


class Level(IntEnum):
    HIGH = 3


MODEL: dict[str, Any] = {"share": 0.5, "anything": None, "many": {}, "otherName": 1}


@pytest.mark.parametrize(
    ("value", "document"),
    [
        (math.nan, "NaN"),
        ([math.inf, -math.inf], ["Infinity", "-Infinity"]),
        (Model(share=math.nan), MODEL | {"share": "NaN"}),
        (Model(anything=(1, math.nan)), MODEL | {"anything": [1, "NaN"]}),
        ({1: "a", UUID(int=7): "b"}, {"1": "a", str(UUID(int=7)): "b"}),
        ({"a\0": "\0\\u0000"}, {"a\ufffd": "\ufffd\\u0000"}),
        ([Kind.GOOD, Level.HIGH, True, None], ["good", 3, True, None]),
        (datetime(2026, 11, 20, tzinfo=UTC), "2026-11-20T00:00:00Z"),
        (2**70, 2**70),
    ],
)
def test_values_have_one_json_form(value: Any, document: Any) -> None:
    assert json.loads(jsonb.dump(value)) == document


def test_minus_zero_is_zero_as_in_jsonb() -> None:
    assert jsonb.dump([-0.0, Model(share=-0.0)]).startswith('[0.0,{"share":0.0')


def test_models_and_dataclasses_nest() -> None:
    data = Data(Model(share=math.nan, many={"a": Model(share=math.inf)}), -math.inf)
    assert json.loads(jsonb.dump(data)) == {
        "model": MODEL | {"share": "NaN", "many": {"a": MODEL | {"share": "Infinity"}}},
        "number": "-Infinity",
    }


def test_what_has_no_json_form_is_refused() -> None:
    with pytest.raises(PydanticSerializationError):
        jsonb.dump({"a": object()})


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # JSON has no lone surrogates, Postgres no NUL.
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner),
    max_leaves=8,
)


@given(plain)
def test_plain_documents_are_unchanged(document: Any) -> None:
    assert json.loads(jsonb.dump(document)) == document
