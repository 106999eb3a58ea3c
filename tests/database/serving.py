"""A real server in a thread, and how tests ask it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from sqlalchemy import Engine, text
from starlette.types import Receive, Scope, Send

from tasks.rollouts.health.possible import impossible
from tasks.serving.app import create_app, serving_engine
from tasks.serving.keys import Scope as KeyScope
from tasks.serving.keys import create_key

FLAGS = "/ofrep/v1/evaluate/flags"


_current: dict[str, FastAPI] = {}


@contextmanager
def served(database: Engine, *, is_open: bool = True) -> Iterator[httpx.Client]:
    """A client of a server on the database, over HTTP."""
    engine = serving_engine(database.url)
    _current["app"] = create_app(engine, is_open=is_open, judge=impossible)
    try:
        with httpx.Client(base_url=_address(), timeout=10) as client:
            yield client
    finally:
        engine.dispose()


def current_app() -> FastAPI:
    """The application that answers now."""
    return _current["app"]


@cache
def _address() -> str:
    """Where uvicorn answers in a thread: one for all tests, each with an application of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        _pass_on, access_log=False, log_config=None, log_level="error", lifespan="off"
    )
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, args=([listener],), daemon=True).start()
    while not server.started:
        time.sleep(0.005)
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


async def _pass_on(scope: Scope, receive: Receive, send: Send) -> None:
    await _current["app"](scope, receive, send)


def key(database: Engine, *scopes: KeyScope, name: str = "app", **limits: Any) -> dict[str, str]:
    """The header of a new key."""
    with database.begin() as tx:
        made = create_key(tx, name, scopes or ("evaluate",), "tester", **limits)
    return {"Authorization": f"Bearer {made.key}"}


def ask(client: httpx.Client, flag: str, user: object = "user-1", **attributes: Any) -> Any:
    """The reply to one evaluation, as JSON."""
    context = {"targetingKey": user, **attributes}
    return client.post(f"{FLAGS}/{flag}", json={"context": context}).json()


def sdk(server: httpx.Client, **headers: str) -> OpenFeatureClient:
    """OpenFeature's own client of the server."""
    provider = OFREPProvider(str(server.base_url), headers_factory=lambda: headers)
    api.set_provider(provider, "test")
    return api.get_client("test")


def roll_out(database: Engine, percentage: float = 25, **columns: Any) -> None:
    """A rollout as its table holds it: version v2 at a percentage, running."""
    given: dict[str, Any] = {
        "name": "ranker",
        "model_version": "v2",
        "salt": "rollout:ranker",
        "percentage": percentage,
        "policy": "{}",
        **columns,
    }
    names = ", ".join(given)
    values = ", ".join(f":{name}" for name in given)
    with database.begin() as tx:
        tx.execute(text(f"INSERT INTO rollout ({names}) VALUES ({values})"), given)
