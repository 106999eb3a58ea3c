"""The outbox: a notice is written in the transaction of what it tells of, and sent later."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks import jsonb
from tasks.database import load_queries
from tasks.notifications.notice import CannotDeliver, Message, Notice, notifiers
from tasks.settings import Channel, load_settings

QUERIES = load_queries(__package__)
MOST_ATTEMPTS = 20
"""After so many tries a message is given up; it stays in the table with its last error."""


class Delivery(BaseModel):
    """What became of one message at one try."""

    model_config = ConfigDict(frozen=True)

    id: int
    channel: str
    title: str
    is_sent: bool
    error: str | None = None

    @property
    def summary(self) -> str:
        """One line."""
        return f"{self.channel}: {self.title}: {'sent' if self.is_sent else self.error}"


class Outgoing(BaseModel):
    """One message in the outbox, sent or not."""

    model_config = ConfigDict(frozen=True)

    id: int
    channel: str
    kind: str
    subject: str
    created_at: datetime
    sent_at: datetime | None
    attempts: int
    last_error: str | None

    @property
    def state(self) -> str:
        """Sent, waiting, or the last error."""
        return "sent" if self.sent_at else self.last_error or "waits"


def announce(tx: Connection, notice: Notice) -> int:
    """Put the notice into the outbox of every channel that wants its kind; how many are new."""
    return announce_all(tx, [notice])


def announce_all(tx: Connection, notices: Sequence[Notice]) -> int:
    """As `announce`, for any number of notices by one statement."""
    rows = [
        notice.model_dump(include={"key", "kind", "subject"})
        | {"channel": name, "payload": notice.model_dump(include={"title", "text", "details"})}
        for notice in notices
        for name, channel in load_settings().notify.items()
        if not channel.kinds or notice.kind in channel.kinds
    ]
    if not rows:
        return 0
    return tx.execute(QUERIES["put_notices"], {"notices": jsonb.dump(rows)}).rowcount


def unsent(tx: Connection, limit: int) -> list[int]:
    """Ids of messages that are still to be sent, the oldest first."""
    asked = {"limit": limit, "most_attempts": MOST_ATTEMPTS}
    return list(tx.scalars(QUERIES["unsent_messages"], asked))


def deliver(tx: Connection, message_id: int) -> Delivery | None:
    """Send one message; None where it was sent, or somebody is sending it.

    A worker that dies after sending and before its commit sends it again: the receiver tells by
    the id. A channel that does not take it is tried again by the next run.
    """
    row = tx.execute(QUERIES["lock_message"], {"id": message_id}).first()
    if row is None:
        return None
    error = _send(row)
    tx.execute(QUERIES["mark_tried"], {"id": message_id, "error": error})
    title = row.payload["title"]
    return Delivery(id=row.id, channel=row.channel, title=title, is_sent=error is None, error=error)


def recent(connection: Connection, limit: int) -> list[Outgoing]:
    """The newest messages, sent or not."""
    rows = connection.execute(QUERIES["recent_messages"], {"limit": limit})
    return [Outgoing(**row._asdict()) for row in rows]


def _send(row: Any) -> str | None:
    channel: Channel | None = load_settings().notify.get(row.channel)
    if channel is None:
        return f"headway.toml declares no [notify.{row.channel}] any more"
    known = {name: getattr(row, name) for name in ("id", "kind", "subject", "created_at")}
    try:
        notifiers.get(channel.kind)(channel, Message(**known, **row.payload))
    except CannotDeliver as error:
        return str(error)
    except Exception as error:  # a notifier of somebody else must not stop the other channels
        return f"{channel.kind} failed: {type(error).__name__}"
    return None
