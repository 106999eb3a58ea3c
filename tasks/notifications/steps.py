"""Steps that send what is in the outbox."""

from __future__ import annotations

from sqlalchemy import Connection

import tasks.notifications.webhook  # noqa: F401 - registers itself
from tasks.ledger import step
from tasks.notifications import outbox
from tasks.notifications.outbox import Delivery


@step(key="unsent")
def list_unsent_notifications(tx: Connection, limit: int = 100) -> list[int]:
    """List the messages that are still to be sent, the oldest first."""
    return outbox.unsent(tx, limit)


@step(key="{message_id}")
def send_notification(tx: Connection, message_id: int) -> Delivery | None:
    """Send one message to its channel; one that is not taken is tried again by the next run."""
    return outbox.deliver(tx, message_id)
