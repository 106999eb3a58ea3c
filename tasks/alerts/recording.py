"""Write down what was observed: alerts open, count up, get worse and are resolved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
    """Open, count up, escalate and resolve alerts; what is news, in the order of subject, metric.

    An unhealthy observation opens the one alert of its subject and metric, or counts it up;
    healthy ones in a row resolve it; an inconclusive one changes nothing. What is news is audited
    and put into the outbox (kind ``alert``). A few statements, however many are observed.
    InputError where a metric of a subject is observed twice.
    """
    seen = _by_key(observations)
    if not seen:
        return []
    known = _lock(tx, seen)
    new = [each for key, each in seen.items() if key not in known and each.health == "unhealthy"]
    followed = [(alert, follow(alert, seen[key])) for key, alert in known.items()]
    changed = [(before, after) for before, after in followed if after is not None]
    _save(tx, [after.alert for _, after in changed])
    news = sorted(
        [*_opened(tx, new), *_news(after for _, after in changed)], key=lambda each: each.alert.key
    )
    states: dict[int, str | None] = {before.id: before.state for before, _ in changed}
    _audit(tx, news, states, actor)
    tell(tx, news)
    return news


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


def _opened(tx: Connection, new: Sequence[Observation]) -> list[AlertNews]:
    if not new:
        return []
    rows = tx.execute(QUERIES["open_alerts"], {"asked": jsonb.dump(list(new))}).mappings()
    alerts = [_alert(row) for row in rows]
    return [
        AlertNews(event="opened", alert=alert, note=alert.message)
        for alert in alerts
        if alert.occurrences == 1
    ]


def _save(tx: Connection, alerts: Sequence[Alert]) -> None:
    if alerts:
        tx.execute(QUERIES["save_alerts"], {"changed": jsonb.dump(list(alerts))})


def _news(followed: Iterable[Followed]) -> list[AlertNews]:
    return [
        AlertNews(event=each.event, alert=each.alert, note=each.note)
        for each in followed
        if each.event is not None
    ]


def _audit(
    tx: Connection, news: Sequence[AlertNews], old_states: Mapping[int, str | None], actor: str
) -> None:
    changes = [
        {
            "alert_id": each.alert.id,
            "old_state": old_states.get(each.alert.id),
            "new_state": each.alert.state,
            "note": each.note,
        }
        for each in news
    ]
    if changes:
        values = {"changes": jsonb.dump(changes), "actor": actor}
        tx.execute(QUERIES["record_alert_changes"], values)


def _alert(row: Any) -> Alert:
    return Alert.model_validate(dict(row))
