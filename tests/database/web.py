"""A web server of a test's own that answers what it is told, and remembers what it was asked."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import MappingProxyType
from typing import NamedTuple


class Answer(NamedTuple):
    """One answer."""

    body: str = "[]"
    status: int = 200
    headers: Mapping[str, str] = MappingProxyType({})
    after_seconds: float = 0.0


class Web(ThreadingHTTPServer):
    """Answers by path, with its query (`*`: any); several answers come one after the other."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.bodies: list[bytes] = []

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def say(
        self,
        path: str,
        body: str = "[]",
        status: int = 200,
        after_seconds: float = 0.0,
        **headers: str,
    ) -> None:
        """Answer that to the next request of the path; the last answer stays."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.setdefault(path, []).append(Answer(body, status, named, after_seconds))


class _Handler(BaseHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        said = self.server.answers
        answers = said.get(self.path) or said.get("*") or [Answer(status=404)]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        time.sleep(answer.after_seconds)
        body = answer.body.encode()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError):  # who asked may have gone
            self.wfile.write(body)

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@contextmanager
def web_server() -> Iterator[Web]:
    """A server until the end."""
    with Web() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
