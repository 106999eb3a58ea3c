"""People are told when an alert opens, gets worse, is resolved or closed."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from tasks.alerts.model import AlertNews
from tasks.notifications.notice import Notice
from tasks.notifications.outbox import announce_all

_WORDS = {"resolved": "ok", "closed": "over"}


def tell(tx: Connection, news: Sequence[AlertNews]) -> int:
    """Put a notice of kind ``alert`` for each into the outbox; how many messages are new."""
    return announce_all(tx, [notice_of(each) for each in news])


def notice_of(news: AlertNews) -> Notice:
    """What people are told; each event of an alert once (it escalates once to a severity)."""
    alert, event = news.alert, news.event
    grade = f":{alert.severity}" if event == "escalated" else ""
    return Notice(
        kind="alert",
        subject=alert.subject,
        key=f"alert:{alert.id}:{event}{grade}",
        title=f"{_WORDS.get(event, alert.severity)}: {alert.title}",
        text=news.note,
        details={
            **alert.details,
            "alert_id": alert.id,
            "event": event,
            "metric": alert.metric,
            "severity": alert.severity,
            "state": alert.state,
        },
    )
