"""The step that looks whether rollouts are looked at."""

from __future__ import annotations

from sqlalchemy import Connection

from tasks.alerts.model import AlertNews
from tasks.ledger import step, step_logger
from tasks.rollouts.watch.heartbeat import check_heartbeats


@step(key="ticks")
def check_ticks(tx: Connection) -> list[AlertNews]:
    """Alert of rollouts that no tick came for in two of their intervals; a tick resolves it."""
    news = check_heartbeats(tx)
    for each in news:
        step_logger().warning(each.summary)
    return news
