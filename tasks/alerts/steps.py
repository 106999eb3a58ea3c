"""The steps by which a person handles an alert."""

from __future__ import annotations

from sqlalchemy import Connection

from tasks.alerts import handling
from tasks.alerts.handling import Handled
from tasks.ledger import step


@step(key="{alert_id}")
def acknowledge_alert(tx: Connection, alert_id: int, actor: str, reason: str) -> Handled:
    """Say that somebody looks after an alert: it tells nobody until it gets worse."""
    return handling.acknowledge(tx, alert_id, actor, reason)


@step(key="{alert_id}")
def resolve_alert(tx: Connection, alert_id: int, actor: str, reason: str) -> Handled:
    """Say that an alert is over; what is unhealthy at the next look opens a new one."""
    return handling.resolve(tx, alert_id, actor, reason)
