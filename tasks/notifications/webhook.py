"""A signed HTTP POST.

The body is JSON. `Headway-Signature: t=SECONDS,v1=HEX` signs it: HEX is the HMAC-SHA256 of
"SECONDS.BODY" under the channel's secret. `Headway-Id` is the same each time a message is sent
again, so that the receiver can pass over what it has.
"""

from __future__ import annotations

import hashlib
import hmac
import time

from tasks.notifications.notice import CannotDeliver, Message, notifiers
from tasks.settings import Channel

TIMEOUT_SECONDS = 10.0


def signature(secret: str, body: bytes, moment: int) -> str:
    """The value of `Headway-Signature` for a body sent at this Unix time."""
    signed = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256)
    return f"t={moment},v1={signed.hexdigest()}"


@notifiers.register("webhook")
def post(channel: Channel, message: Message) -> None:
    """POST the message to the channel's address; CannotDeliver unless the answer is 2xx.

    Redirects are not followed: what is signed for one host is not for another.
    """
    import httpx  # most commands send nothing

    body = message.model_dump_json().encode()
    headers = {"Content-Type": "application/json", "Headway-Id": str(message.id)}
    secret = channel.secret_value()
    if secret is not None:
        # The receiver compares it with its own clock, so it is this machine's.
        headers["Headway-Signature"] = signature(secret, body, int(time.time()))
    try:
        # As a stream: what a receiver answers is of no interest, however long it is.
        with httpx.stream(
            "POST", channel.address(), content=body, headers=headers, timeout=TIMEOUT_SECONDS
        ) as answer:
            status = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CannotDeliver(f"the webhook cannot be reached: {type(error).__name__}") from None
    if not 200 <= status < 300:
        raise CannotDeliver(f"the webhook answered {status}")
