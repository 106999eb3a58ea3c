"""A source has its timeout for the whole answer: one that drips holds nobody up."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from tasks.rollouts.health.sources.model import SecretName
from tests.database.health_sources import measured

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"


@contextmanager
def dripping(said: bytes) -> Iterator[int]:
    """A port that says something at once, and from then on a blank now and then."""
    listener = socket.create_server(("127.0.0.1", 0))

    def drip(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.sendall(said)
            while True:
                connection.sendall(b"x")
                time.sleep(0.05)

    def serve() -> None:
        with suppress(OSError):
            while True:
                Thread(target=drip, args=(listener.accept()[0],), daemon=True).start()

    Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.mark.parametrize("said", [HEAD, b"HTTP/1.1 200 OK\r\nX-Slow: "], ids=["body", "headers"])
def test_an_endpoint_that_drips_is_given_up_after_its_timeout(engine: Engine, said: bytes) -> None:
    with dripping(said) as port:
        source = {"kind": "http", "url": f"http://127.0.0.1:{port}/x", "value": "/v"}
        started = time.monotonic()
        found = measured(engine, source | {"timeout_seconds": 0.5})
        took = time.monotonic() - started
    assert found.source_error == f"http://127.0.0.1:{port}/x did not answer within 0.5 s"
    assert took < 2


@contextmanager
def hanging_database(engine: Engine) -> Iterator[str]:
    """The URL of a way to the database on which no answer comes any more to who says "hang"."""
    place = f"{engine.url.query['host']}/.s.PGSQL.{engine.url.query['port']}"
    listener = socket.create_server(("127.0.0.1", 0))
    hung: set[socket.socket] = set()
    ends: list[socket.socket] = []

    def pass_on(reads: socket.socket, writes: socket.socket) -> None:
        with suppress(OSError):
            while said := reads.recv(65536):
                if b"hang" in said:
                    hung.add(writes)
                if reads not in hung:
                    writes.sendall(said)
        with suppress(OSError):
            writes.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with suppress(OSError):
            while True:
                client = listener.accept()[0]
                server = socket.socket(socket.AF_UNIX)
                server.connect(place)
                ends.extend((client, server))
                for way in ((client, server), (server, client)):
                    Thread(target=pass_on, args=way, daemon=True).start()

    Thread(target=serve, daemon=True).start()
    port = listener.getsockname()[1]
    try:
        yield f"postgresql://{engine.url.username}@127.0.0.1:{port}/{engine.url.database}"
    finally:
        for end in ends:
            end.close()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT 1 AS value, 'hang' WHERE :model_version <> ''", "did not answer within 0.5 s"),
        ("SELECT 1 AS value FROM pg_sleep(9) WHERE :model_version <> ''", "statement timeout"),
    ],
)
def test_a_query_is_given_up_after_its_timeout(engine: Engine, query: str, said: str) -> None:
    with hanging_database(engine) as url:
        secrets = {SecretName(env="DB"): SecretStr(url)}
        source = {"kind": "query", "url": {"env": "DB"}, "query": query, "timeout_seconds": 0.5}
        started = time.monotonic()
        found = measured(engine, source, secrets=secrets)
        took = time.monotonic() - started
    assert said in (found.source_error or "")
    assert took < 2
