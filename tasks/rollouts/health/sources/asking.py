"""Ask over HTTP: with limits, a bounded number of tries, and no secret in an error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, quote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tasks import retries
from tasks.errors import HeadwayError
from tasks.rollouts.health.sources.concealing import HOW, is_telling_name, is_telling_value
from tasks.rollouts.health.sources.model import (
    Inquiry,
    SecretName,
    Secrets,
    SourceTrouble,
    secret_value,
)
from tasks.web.addresses import checked_url, without_query
from tasks.web.fetching import Limits, TooSlow, fetch

_TRIES = 3
_MOST_WAIT_SECONDS = 10.0
_PLACE = re.compile(r"\{(\w*)\}")
PLACES = ("model_version", "metric", "window_start", "window_end", "window_seconds")


class Endpoint(BaseModel):
    """An address, and how it is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    headers: dict[str, str | SecretName] = {}
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 10
    max_bytes: Annotated[int, Field(ge=1, le=50_000_000)] = 1_000_000

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        host, _, path = url.partition("://")[2].partition("/")
        if "{" in host:
            raise ValueError("the host of a URL is fixed; only its path and query hold {…}")
        unknown = sorted(set(_PLACE.findall(path)) - set(PLACES))
        if unknown:
            raise ValueError(f"{{{unknown[0]}}} is not known; known: {', '.join(PLACES)}")
        for name, value in parse_qsl(urlsplit(url).query, keep_blank_values=True):
            if is_telling_name(name) or is_telling_value(value):
                raise ValueError(f"its parameter {name} looks like a secret, and {HOW}")
        return checked_url(url)

    @field_validator("headers")
    @classmethod
    def _hides_secrets(cls, headers: dict[str, str | SecretName]) -> dict[str, str | SecretName]:
        for name, value in headers.items():
            if isinstance(value, str) and (is_telling_name(name) or is_telling_value(value)):
                raise ValueError(f"{name} looks like a secret, and {HOW}")
        return headers


def places_of(inquiry: Inquiry) -> dict[str, str]:
    """What may stand in a template: versions and times as text, times in ISO 8601 and UTC."""
    return {
        "model_version": inquiry.model_version,
        "metric": inquiry.metric,
        "window_start": inquiry.window_start.isoformat(),
        "window_end": inquiry.window_end.isoformat(),
        "window_seconds": f"{max(round(inquiry.seconds), 1)}",
    }


def filled_url(template: str, inquiry: Inquiry) -> str:
    """The URL of an inquiry: what is put in is quoted, and stays in its place.

    SourceTrouble for a version named . or .., which would lead to another path.
    """
    places = places_of(inquiry)
    if {inquiry.model_version, inquiry.metric} & {".", ".."}:
        raise SourceTrouble("a version or metric named . or .. cannot stand in a URL")
    return _PLACE.sub(lambda found: quote(places[found[1]], safe=""), template)


def filled(value: Any, inquiry: Inquiry) -> Any:
    """The same for every text in a JSON document."""
    places = places_of(inquiry)
    match value:
        case str():
            return _PLACE.sub(lambda found: places.get(found[1], found[0]), value)
        case dict():
            return {name: filled(each, inquiry) for name, each in value.items()}
        case list():
            return [filled(each, inquiry) for each in value]
        case _:
            return value


def ask(
    endpoint: Endpoint,
    url: str,
    secrets: Secrets,
    *,
    method: Literal["GET", "POST"] = "GET",
    content: bytes | None = None,
    content_type: str | None = None,
) -> bytes:
    """The body of a 200 answer, at the third try at the latest.

    Tried again is what may pass: transport errors, 429 and 5xx (after the wait that the server asks
    for, ten seconds at most). Who is too slow once has had all the time of the source: others wait.
    SourceTrouble says what came of it.
    """
    import httpx

    seconds = endpoint.timeout_seconds
    limits = Limits(seconds, endpoint.max_bytes, _MOST_WAIT_SECONDS, whole_seconds=seconds)
    headers = _headers(endpoint.headers, secrets, content_type)

    def once(_: int) -> bytes:
        try:
            return fetch(url, limits, method=method, headers=headers, content=content).body
        except (TooSlow, httpx.TimeoutException):
            message = f"{without_query(url)} did not answer within {seconds:g} s"
            raise SourceTrouble(message) from None

    try:
        return retries.call(once, lambda _error, _wait: None, retries=_TRIES - 1)
    except HeadwayError as error:
        raise SourceTrouble(str(error)) from None
    except Exception as error:  # what a library says may quote a header
        message = f"{without_query(url)} could not be asked: {type(error).__name__}"
        raise SourceTrouble(message) from None


def _headers(
    named: Mapping[str, str | SecretName], secrets: Secrets, content_type: str | None
) -> dict[str, str]:
    told = {
        name: value if isinstance(value, str) else secret_value(secrets, value)
        for name, value in named.items()
    }
    usual = {"Accept": "application/json"}
    return usual | ({"Content-Type": content_type} if content_type else {}) | told
