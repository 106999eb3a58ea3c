"""What there is to tell, and the ways to tell it. Open by registry.

    @notifiers.register("webhook")
    def post(channel: Channel, message: Message) -> None: ...

Other packages register theirs by the entry point group ``headway.notifiers``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.errors import HeadwayError
from tasks.registry import Registry
from tasks.settings import Channel


class Notice(BaseModel):
    """Something that people want to know; the same ``key`` is told once."""

    model_config = ConfigDict(frozen=True)

    kind: str  # winner, srm, no-data, guardrail, …: channels choose by it
    subject: str  # experiment:checkout
    key: str
    title: str
    text: str
    details: dict[str, Any] = {}


class Message(BaseModel):
    """A notice on its way; ``id`` is the same each time it is sent again."""

    model_config = ConfigDict(frozen=True)

    id: int
    kind: str
    subject: str
    title: str
    text: str
    details: dict[str, Any]
    created_at: datetime


class CannotDeliver(HeadwayError):
    """A message that a channel did not take. The text never holds the channel's address."""

    retryable = True


Notifier = Callable[[Channel, Message], None]

notifiers: Registry[Notifier] = Registry("notifier", "headway.notifiers")
