"""One request with limits: of time, of size, and of where redirects may lead."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isnan
from typing import TYPE_CHECKING, Literal, NamedTuple

from tasks.errors import InputError, TransientError
from tasks.web.addresses import followed, without_query

if TYPE_CHECKING:
    import httpx

MAX_REDIRECTS = 5
_WHOLE_PAGE_TIMES = 10  # a page may take so many times the limit of one wait
_NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Limits:
    """How long one wait may last, how much may be answered, how long a server may hold us off.

    ``whole_seconds`` bounds the whole answer, redirects included; by default it is ten waits.
    """

    timeout_seconds: float
    max_bytes: int
    max_wait_seconds: float = 60.0
    whole_seconds: float | None = None


class TooSlow(TransientError):
    """An answer that was not whole in time."""


class _Busy(Exception):
    """A server that has no answer now, and how long it asks to wait."""

    def __init__(self, message: str, wait_seconds: float) -> None:
        self.wait_seconds = wait_seconds
        super().__init__(message)


class Fetched(NamedTuple):
    """What a server answered."""

    url: str
    body: bytes
    content_type: str
    next_link: str | None


def fetch(
    url: str,
    limits: Limits,
    *,
    method: Literal["GET", "POST"] = "GET",
    headers: Mapping[str, str] = _NO_HEADERS,
    content: bytes | None = None,
) -> Fetched:
    """Ask once, and follow redirects on the same host.

    Raises TransientError for what may pass (429 and 5xx, after the wait that the server asks for;
    TooSlow for an answer that is not whole in time),
    httpx's transport errors as they are, and InputError for an answer that cannot be used.
    """
    whole = limits.whole_seconds or limits.timeout_seconds * _WHOLE_PAGE_TIMES
    try:
        return asyncio.run(_within(whole, url, limits, method, headers, content))
    except TimeoutError:
        message = f"{without_query(url)} did not answer within {whole:g} s"
        raise TooSlow(message) from None
    except _Busy as error:
        time.sleep(error.wait_seconds)
        raise TransientError(str(error)) from None


async def _within(
    seconds: float,
    url: str,
    limits: Limits,
    method: str,
    headers: Mapping[str, str],
    content: bytes | None,
) -> Fetched:
    """As `fetch`; TimeoutError where head and body together take longer, however they come."""
    import httpx  # most commands fetch nothing

    async with (
        asyncio.timeout(seconds),
        httpx.AsyncClient(headers=dict(headers), timeout=limits.timeout_seconds) as client,
    ):
        for _ in range(MAX_REDIRECTS + 1):
            try:
                async with client.stream(method, url, content=content) as response:
                    if not response.has_redirect_location:
                        return await _fetched(url, response, limits)
                    url = followed(url, response.headers["location"])
            except (httpx.InvalidURL, httpx.DecodingError) as error:
                raise InputError(f"{without_query(url)} cannot be read: {error}") from None
    raise InputError(f"{without_query(url)} redirects more than {MAX_REDIRECTS} times")


async def _fetched(url: str, response: httpx.Response, limits: Limits) -> Fetched:
    _require_success(response, limits.max_wait_seconds)
    body = await _body(response, limits.max_bytes)
    kind = response.headers.get("content-type", "").lower()
    return Fetched(url, body, kind, response.links.get("next", {}).get("url"))


def _require_success(response: httpx.Response, max_wait_seconds: float) -> None:
    status, shown = response.status_code, without_query(str(response.url))
    if status == 429 or status >= 500:
        wait = wait_seconds(response.headers.get("retry-after"), most=max_wait_seconds)
        raise _Busy(f"{shown} answered {status}", wait)
    if status != 200:
        raise InputError(f"{shown} answered {status}, not 200")


def wait_seconds(
    retry_after: str | None, now: datetime | None = None, *, most: float = 60.0
) -> float:
    """How long a server asks to wait (seconds or an HTTP date), at most so long."""
    if retry_after is None:
        return 0.0
    try:
        asked = float(retry_after)
    except ValueError:
        try:
            moment = parsedate_to_datetime(retry_after)
        except ValueError:
            return 0.0
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        asked = (moment - (now or datetime.now(UTC))).total_seconds()
    return 0.0 if isnan(asked) else min(max(asked, 0.0), most)


async def _body(response: httpx.Response, max_bytes: int) -> bytes:
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > max_bytes:
            raise InputError(
                f"{without_query(str(response.url))} answered with more than {max_bytes} bytes; "
                "ask for less, or raise max_bytes"
            )
    return bytes(body)
