"""The web application: endpoints, what every request passes through, and its OpenAPI page."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import sqlalchemy as sa
from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI
from sqlalchemy import URL, Engine
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tasks.database import psycopg_url
from tasks.serving import asking, failures, health, metrics, ofrep, page, tracking
from tasks.serving.admission import Door
from tasks.serving.metrics import Metrics

MAX_BODY_BYTES = 1_048_576
THREADS = 16
"""Requests that ask the database at once; each has a connection of the pool."""


def create_app(
    engine: Engine, *, is_open: bool = False, judge: tracking.Judge | None = None
) -> FastAPI:
    """The application on this control database; ``is_open`` asks nobody for a key.

    ``judge`` says why a health sample cannot be; without one every number is taken.
    """
    app = FastAPI(
        title="Headway",
        description="Which version and which variant a user gets; what users and versions did.",
        version="1",
        docs_url=None,  # theirs load programs from another host; ours is in page.py
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.engine = engine
    app.state.metrics = Metrics()
    app.state.judge = judge
    app.state.door = Door(engine, is_open=is_open)
    for part in (ofrep, asking, tracking, health, metrics, page):
        app.include_router(part.router)
    failures.install(app)
    app.add_middleware(Gate, metrics=app.state.metrics)
    return app


def serving_engine(url: str | URL) -> Engine:
    """A pool for short statements, each its own transaction; it gives up after seconds."""
    parsed = psycopg_url(url)
    given_up = {} if "options" in parsed.query else {"options": "-c statement_timeout=4000"}
    return sa.create_engine(
        parsed,
        isolation_level="AUTOCOMMIT",  # one round trip for a statement, not three
        pool_size=THREADS,
        max_overflow=0,
        pool_timeout=2,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"application_name": "headway serve", "connect_timeout": 3, **given_up},
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    current_default_thread_limiter().total_tokens = THREADS
    yield
    app.state.engine.dispose()


class Gate:
    """What every request passes: a limit for bodies, the counters, and an answer to any error."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and see how it is answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, _limited(receive), sent)
        except Exception as error:
            if status:  # half an answer is out; the server closes the connection
                raise
            problem = failures.problem_of(error)
            await failures.answer(scope["path"], None, problem)(scope, receive, sent)
        route = getattr(scope.get("route"), "path", "unmatched")
        seconds = time.perf_counter() - started
        self._metrics.count_request(route, scope["method"], status, seconds)


def _limited(receive: Receive) -> Receive:
    read = 0

    async def receive_some() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > MAX_BODY_BYTES:
            # Of all exceptions FastAPI lets only this one through while it reads.
            raise HTTPException(413, f"a body has at most {MAX_BODY_BYTES} bytes")
        return message

    return receive_some
