"""Who may come in: a key with the scope that the endpoint needs, not more often than it may."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool

from tasks.serving.keys import Grant, Scope, find_grant, hash_of
from tasks.serving.limits import RateLimiter
from tasks.serving.wire import Problem

KEY_SECONDS = 5.0
"""A key is looked up again after so long; a revoked one opens nothing any more by then."""
_MANY = 10_000

_bearer = HTTPBearer(auto_error=False, scheme_name="BearerAuth", description="an API key")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="ApiKeyAuth")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: ``organization`` None sees everything."""

    organization: str | None = None


class Door:
    """Lets callers in by their keys; with ``is_open`` everybody, which is for one machine only."""

    def __init__(
        self,
        engine: Engine,
        *,
        is_open: bool = False,
        seconds: float = KEY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._is_open = engine, is_open
        self._seconds, self._clock = seconds, clock
        self._limiter = RateLimiter(clock)
        self._known: dict[str, tuple[Grant, float]] = {}

    async def admit(self, key: str | None, scope: Scope) -> Caller:
        """Say who asks; Problem 401 without a valid key, 403 without the scope, 429 too often."""
        if self._is_open:
            return Caller()
        if key is None:
            raise _unknown("send an API key: Authorization: Bearer KEY, or X-API-Key: KEY")
        grant = await self._grant(hash_of(key))
        if grant is None:
            raise _unknown("the API key is not valid: unknown, revoked or expired")
        if scope not in grant.scopes:
            raise Problem(403, "GENERAL", f"this needs a key with the scope {scope!r}")
        self._count(grant)
        return Caller(grant.organization)

    async def _grant(self, key_hash: str) -> Grant | None:
        known = self._known.get(key_hash)
        if known is not None and known[1] > self._clock():
            return known[0]
        self._known.pop(key_hash, None)
        grant = await run_in_threadpool(self._look_up, key_hash)
        if grant is not None:
            if len(self._known) >= _MANY:
                self._known.clear()
            self._known[key_hash] = grant, self._clock() + self._seconds
        return grant

    def _look_up(self, key_hash: str) -> Grant | None:
        with self._engine.connect() as connection:
            return find_grant(connection, key_hash)

    def _count(self, grant: Grant) -> None:
        if grant.requests_per_minute is None:
            return
        wait = self._limiter.seconds_to_wait(grant.key_id, grant.requests_per_minute)
        if wait > 0:
            after = {"Retry-After": str(math.ceil(wait))}
            message = f"this key may ask {grant.requests_per_minute} times a minute"
            raise Problem(429, "GENERAL", message, after)


def _unknown(message: str) -> Problem:
    return Problem(401, "GENERAL", message, {"WWW-Authenticate": "Bearer"})


def caller_with(scope: Scope) -> Callable[..., Awaitable[Caller]]:
    """The dependency of an endpoint that needs the scope."""

    async def admit(
        request: Request,
        bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None,
        header: Annotated[str | None, Security(_header)] = None,
    ) -> Caller:
        door: Door = request.app.state.door
        return await door.admit(bearer.credentials if bearer else header, scope)

    return admit


Evaluator = Annotated[Caller, Depends(caller_with("evaluate"))]
Tracker = Annotated[Caller, Depends(caller_with("track"))]
Reader = Annotated[Caller, Depends(caller_with("read"))]
