"""Write down what was observed: alerts open, count up, get worse and are resolved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from tasks import jsonb
from tasks.alerts.following import Followed, follow
from tasks.alerts.model import Alert, AlertNews, Observation
from tasks.alerts.telling import tell
from tasks.database import load_queries
from tasks.errors import InputError

QUERIES = load_queries(__package__)


def observe(
    tx: Connection, observations: Sequence[Observation], *, actor: str = "headway"
) -> list[AlertNews]:
    """Record what was observed, and put what is news into the outbox (kind ``alert``)."""
    news = record(tx, observations, actor=actor)
    tell(tx, news)
    return news


def record(
    tx: Connection, observations: Sequence[Observation], *, actor: str = "headway"
) -> list[AlertNews]:
    """Open, count up, escalate and resolve alerts; what is news, in the order of subject, metric.

    An unhealthy observation opens the one alert of its subject and metric, or counts it up;
    healthy ones in a row resolve it; an inconclusive one changes nothing. What is news is audited;
    the caller tells people of it. Two statements, however many are observed. InputError where a
    metric of a subject is observed twice.
    """
    seen = _by_key(observations)
    if not seen:
        return []
    known = _lock(tx, seen)
    new = [each for key, each in seen.items() if key not in known and each.health == "unhealthy"]
    followed = [(alert, follow(alert, seen[key])) for key, alert in known.items()]
    changed = [(before, after) for before, after in followed if after is not None]
    opened = _record(tx, new, changed, actor) if new or changed else []
    news = [_opened(alert) for alert in opened if alert.occurrences == 1]
    news += [
        AlertNews(event=after.event, alert=after.alert, note=after.note)
        for _, after in changed
        if after.event is not None
    ]
    return sorted(news, key=lambda each: each.alert.key)


def _by_key(observations: Sequence[Observation]) -> dict[tuple[str, str], Observation]:
    twice = [key for key, n in Counter(each.key for each in observations).items() if n > 1]
    if twice:
        raise InputError(f"observed twice at once: {', '.join(map(' of '.join, twice))}")
    told = [each for each in observations if each.health != "inconclusive"]
    return {each.key: each for each in sorted(told, key=lambda each: each.key)}


def _lock(
    tx: Connection, seen: Mapping[tuple[str, str], Observation]
) -> dict[tuple[str, str], Alert]:
    asked = jsonb.dump([{"subject": subject, "metric": metric} for subject, metric in seen])
    rows = tx.execute(QUERIES["lock_open_alerts"], {"asked": asked}).mappings()
    return {alert.key: alert for alert in map(_alert, rows)}


def _record(
    tx: Connection,
    new: Sequence[Observation],
    changed: Sequence[tuple[Alert, Followed]],
    actor: str,
) -> list[Alert]:
    """Write it all down; the new alerts, and those that somebody else opened meanwhile."""
    changes = [
        {
            "alert_id": before.id,
            "old_state": before.state,
            "new_state": after.alert.state,
            "note": after.note,
        }
        for before, after in changed
        if after.event is not None
    ]
    values = {
        "new": jsonb.dump(list(new)),
        "changed": jsonb.dump([after.alert for _, after in changed]),
        "changes": jsonb.dump(changes),
        "actor": actor,
    }
    return [_alert(row) for row in tx.execute(QUERIES["record_alerts"], values).mappings()]


def _opened(alert: Alert) -> AlertNews:
    return AlertNews(event="opened", alert=alert, note=alert.message)


def _alert(row: Any) -> Alert:
    return Alert.model_validate(dict(row))
