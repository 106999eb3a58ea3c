"""People are told once a channel, signed, and again where nobody took it."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Engine, text

from flows.notify import send_notifications
from flows.pipeline import run_by_ledger
from tasks.notifications import outbox
from tasks.notifications.notice import Notice
from tasks.notifications.outbox import Delivery, announce, recent
from tasks.settings import load_settings

WON = Notice(
    kind="winner",
    subject="experiment:layout",
    key="winner:layout:b",
    title="b wins layout",
    text="b beats a by 3 points.",
    details={"winner": "b"},
)


class Receiver(HTTPServer):
    """Takes POSTs and keeps them; answers with the given status."""

    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[tuple[dict[str, str], bytes]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((dict(self.headers), body))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def ops(
    receiver: Receiver, database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Engine:
    """A database, and a channel `ops` for winners and one for everything else that fails."""
    del database
    (tmp_path / "headway.toml").write_text(
        '[notify.ops]\nkind = "webhook"\nkinds = ["winner"]\n'
        'url_env = "OPS_URL"\nsecret_env = "OPS_SECRET"\n'
        '[notify.srm]\nkind = "webhook"\nkinds = ["srm"]\nurl_env = "OPS_URL"\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPS_URL", f"http://127.0.0.1:{receiver.server_port}/hook?token=hunter2")
    monkeypatch.setenv("OPS_SECRET", "quiet")
    load_settings.cache_clear()
    from tasks.database import control_engine

    return control_engine()


def tell(engine: Engine, notice: Notice) -> int:
    with engine.begin() as tx:
        return announce(tx, notice)


def sent() -> list[Delivery]:
    deliveries: list[Delivery] = run_by_ledger(send_notifications, {})
    return deliveries


def test_a_message_is_signed_and_arrives_once(ops: Engine, receiver: Receiver) -> None:
    assert [tell(ops, WON), tell(ops, WON)] == [1, 0]
    assert [delivery.is_sent for delivery in sent()] == [True]
    assert sent() == []
    [(headers, body)] = receiver.received
    message = json.loads(body)
    assert (message["title"], message["details"]) == ("b wins layout", {"winner": "b"})
    assert headers["Headway-Id"] == str(message["id"])
    found = re.fullmatch(r"t=(\d+),v1=(\w+)", headers["Headway-Signature"])
    assert found is not None
    wanted = hmac.new(b"quiet", f"{found[1]}.".encode() + body, hashlib.sha256)
    assert found[2] == wanted.hexdigest()


def test_a_channel_gets_what_it_asked_for(ops: Engine, receiver: Receiver) -> None:
    assert tell(ops, WON.model_copy(update={"kind": "futile"})) == 0
    assert tell(ops, WON.model_copy(update={"kind": "srm"})) == 1
    assert [delivery.channel for delivery in sent()] == ["srm"]
    assert "Headway-Signature" not in receiver.received[0][0]


def test_what_was_not_taken_is_sent_again_and_given_up_in_the_end(
    ops: Engine, receiver: Receiver
) -> None:
    tell(ops, WON)
    receiver.status = 503
    [failed] = sent()
    assert failed.error == "the webhook answered 503"
    receiver.status = 200
    assert [delivery.is_sent for delivery in sent()] == [True]
    first, again = (headers["Headway-Id"] for headers, _ in receiver.received)
    assert first == again
    with ops.begin() as tx:
        [row] = recent(tx, 5)
        assert (row.attempts, row.last_error, row.sent_at is None) == (2, None, False)
        tx.execute(text("UPDATE notification SET sent_at = NULL, attempts = 20"))
    assert sent() == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/hunter2", "nonsense://hunter2", "hunter2"])
def test_an_address_never_shows_in_an_error(
    ops: Engine, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("OPS_URL", url)
    tell(ops, WON)
    [failed] = sent()
    assert "the webhook cannot be reached" in (failed.error or "")
    with ops.connect() as connection:
        kept: list[Any] = list(connection.execute(text("SELECT * FROM notification")))
    assert "hunter2" not in f"{failed} {kept}"


def test_two_workers_do_not_send_the_same_message(ops: Engine, receiver: Receiver) -> None:
    tell(ops, WON)
    with ops.begin() as first, ops.begin() as second:
        [message] = outbox.unsent(first, 10)
        assert outbox.deliver(first, message) is not None
        assert outbox.deliver(second, message) is None
    assert len(receiver.received) == 1


def test_a_channel_that_is_gone_is_said(ops: Engine, tmp_path: Path) -> None:
    tell(ops, WON)
    (tmp_path / "headway.toml").write_text("")
    load_settings.cache_clear()
    [failed] = sent()
    assert failed.error == "headway.toml declares no [notify.ops] any more"
