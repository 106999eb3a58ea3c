"""How requests and replies look: JSON with camelCase names, and one body for every error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import to_json

from tasks import jsonb
from tasks.errors import HeadwayError

MAX_NAME = 255


class Wire(BaseModel):
    """A reply, or a part of one."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class Asked(Wire):
    """A request; a field that nobody knows is an error, so that a misspelt one is not lost."""

    model_config = ConfigDict(extra="forbid")


class Problem(HeadwayError):
    """A request that gets no answer: HTTP status, OpenFeature error code, what to do about it."""

    def __init__(
        self, status: int, code: str, details: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status, self.code, self.details = status, code, details
        self.headers = dict(headers or {})
        super().__init__(details)


class ErrorBody(Wire):
    """Every error; `key` is there where a flag was asked for."""

    key: Annotated[str | None, Field(description="the flag that was asked for")] = None
    error_code: Annotated[str, Field(description="an OpenFeature error code")]
    error_details: Annotated[str, Field(description="what is wrong and what to do")]


def storable(text: str) -> str:
    """Return the text; ValueError for what Postgres cannot hold."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must hold no NUL character and no lone surrogate")
    return text


Text = Annotated[str, AfterValidator(storable)]
Name = Annotated[Text, Field(min_length=1, max_length=MAX_NAME)]


def as_jsonb(value: Mapping[str, Any]) -> str:
    """A JSON object of a request as Postgres takes it; ValueError where it cannot."""
    try:
        return jsonb.dump(value)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except ValueError:  # a lone surrogate
        raise ValueError("must be valid Unicode text") from None


def reply(
    content: Wire | Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """The content as JSON; fields without a value are left out."""
    body = to_json(content, by_alias=True, exclude_none=True)
    return Response(body, status, headers, media_type="application/json")


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of an operation, for its OpenAPI page."""
    listed = [400, 401, 403, 413, 429, 503, *statuses]
    named: dict[int | str, str] = {status: _MEANINGS[status] for status in sorted(listed)}
    # Named so, FastAPI does not promise its own 422, which is never sent.
    named["4XX"] = "another error of the request"
    return {status: {"model": ErrorBody, "description": said} for status, said in named.items()}


_MEANINGS = {
    400: "the request cannot be read, or names no user",
    401: "no valid API key was sent",
    403: "the key lacks the scope",
    404: "there is no such thing, or the key's organization may not see it",
    413: "the body is too large",
    429: "the key asked too often; Retry-After says when to ask again",
    503: "the database cannot answer now",
}
