"""Tell people what happened: a webhook, or a notification block of Prefect."""

from __future__ import annotations

from typing import Any

from flows.artifacts import publish_table
from flows.pipeline import pipeline
from tasks.notifications import steps
from tasks.notifications.notice import CannotDeliver, Message, notifiers
from tasks.notifications.outbox import Delivery
from tasks.settings import Channel


@notifiers.register("prefect")
def notify_by_block(channel: Channel, message: Message) -> None:
    """Send the message through the notification block that the channel names (`type/name`)."""
    from prefect.blocks.core import Block

    try:
        block: Any = Block.load(channel.block or "")
        block.notify(message.text, subject=message.title)
    except Exception as error:  # blocks raise what their services raise, addresses and all
        raise CannotDeliver(
            f"Prefect block {channel.block!r} failed: {type(error).__name__}"
        ) from None


@pipeline(name="send-notifications")
def send_notifications() -> list[Delivery]:
    """Send what is in the outbox to the channels of headway.toml, each message once.

    A channel that does not take a message is tried again by the next run, twenty times at most.
    """
    return send_unsent()


def send_unsent() -> list[Delivery]:
    """Send within the flow that is running; other flows call it at their end."""
    tried = [
        steps.send_notification(message_id=message_id)
        for message_id in steps.list_unsent_notifications()
    ]
    deliveries = [delivery for delivery in tried if delivery is not None]
    if deliveries:
        publish_table("notifications", [delivery.model_dump() for delivery in deliveries])
    return deliveries
