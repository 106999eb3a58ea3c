"""An HTTP endpoint that answers in JSON."""

from __future__ import annotations

import json
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, JsonValue, field_validator, model_validator
from pydantic_core import to_json

from tasks.rollouts.health.measured import Measured
from tasks.rollouts.health.sources import figures
from tasks.rollouts.health.sources.asking import Endpoint, ask, filled, filled_url
from tasks.rollouts.health.sources.concealing import HOW, revealed
from tasks.rollouts.health.sources.model import Inquiry, Secrets, SourceTrouble, health_source
from tasks.web.addresses import without_query
from tasks.web.pointers import pointed


def _pointer(text: str) -> str:
    if text and not text.startswith("/"):
        raise ValueError("a JSON pointer begins with /, such as /data/errors")
    return text


Pointer = Annotated[str, AfterValidator(_pointer)]
_MISSING = object()
_FIGURES = ("value", "count", "value_sum", "sample_count", "square_sum")
_FITTING = (
    {"value"},
    {"value", "count"},
    {"value_sum", "sample_count"},
    {"value_sum", "sample_count", "square_sum"},
)


class HttpConfig(Endpoint):
    """Where the figures stand in the answer, as JSON pointers (RFC 6901).

    Either ``value`` (with ``count``, the observations that it rests on, where that is told) or
    ``value_sum`` and ``sample_count`` (with ``square_sum``). The URL, and the texts in the body of
    a POST, may hold ``{model_version}``, ``{metric}``, ``{window_start}``, ``{window_end}`` and
    ``{window_seconds}``.
    """

    method: Literal["GET", "POST"] = "GET"
    body: Annotated[JsonValue, Field(description="sent as JSON, with POST")] = None
    value: Pointer | None = None
    count: Pointer | None = None
    value_sum: Pointer | None = None
    sample_count: Pointer | None = None
    square_sum: Pointer | None = None

    @field_validator("body")
    @classmethod
    def _holds_no_secret(cls, body: JsonValue) -> JsonValue:
        where = next(revealed(body, "body"), None)
        if where is not None:
            raise ValueError(f"{where} looks like a secret, and {HOW}")
        return body

    @model_validator(mode="after")
    def _asks_for_one(self) -> HttpConfig:
        told = {name for name in _FIGURES if getattr(self, name) is not None}
        if told not in _FITTING:
            raise ValueError(
                "point either at value, with or without count, or at value_sum and sample_count, "
                "with or without square_sum"
            )
        if self.body is not None and self.method == "GET":
            raise ValueError("a GET has no body; say method POST")
        return self


@health_source("http", HttpConfig)
def read_http(config: HttpConfig, inquiry: Inquiry, secrets: Secrets) -> Measured:
    """The figures of one answer; null is no data, a pointer to nowhere is trouble."""
    url = filled_url(config.url, inquiry)
    is_post = config.method == "POST"
    content = to_json(filled(config.body, inquiry)) if is_post else None
    answer = ask(
        config,
        url,
        secrets,
        method=config.method,
        content=content,
        content_type="application/json" if is_post else None,
    )
    document = parsed(answer, without_query(url))
    found = {name: _pointed(document, getattr(config, name)) for name in _FIGURES}
    if config.value is not None:
        is_counted = config.count is not None
        return figures.given(found["value"], found["count"], is_counted=is_counted)
    return figures.summed(found["value_sum"], found["sample_count"], found["square_sum"])


def parsed(body: bytes, place: str) -> Any:
    """The JSON document; SourceTrouble where it is none, or says two things of one name."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
            told = f"names {twice[:60]!r} twice in one object (duplicate-key)"
            raise SourceTrouble(f"{place} answered with JSON that {told}")
        return found

    try:
        return json.loads(body, object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise SourceTrouble(f"{place} answered with something that is no JSON") from None


def _pointed(document: Any, pointer: str | None) -> Any:
    if pointer is None:
        return None
    found = pointed(document, pointer, _MISSING)
    if found is _MISSING:
        raise SourceTrouble(f"the answer has nothing at {pointer}")
    return found
