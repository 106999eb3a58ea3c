"""The alerts, and what was done about them. Reads only; needs no Prefect."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks.alerts.model import Alert, AlertState
from tasks.alerts.recording import QUERIES


class AlertChange(BaseModel):
    """One thing that was done about an alert."""

    model_config = ConfigDict(frozen=True)

    old_state: AlertState | None
    new_state: AlertState
    actor: str
    note: str
    changed_at: datetime


def alerts(
    connection: Connection,
    *,
    subject: str | None = None,
    has_resolved: bool = False,
    limit: int = 50,
) -> list[Alert]:
    """The open and acknowledged alerts, the gravest first; resolved ones too, if asked for."""
    asked = {"subject": subject, "has_resolved": has_resolved, "limit": limit}
    rows = connection.execute(QUERIES["list_alerts"], asked).mappings()
    return [Alert.model_validate(dict(row)) for row in rows]


def history(connection: Connection, alert_id: int) -> list[AlertChange]:
    """What was done about one alert, the oldest first."""
    rows = connection.execute(QUERIES["alert_changes"], {"alert_id": alert_id}).mappings()
    return [AlertChange.model_validate(dict(row)) for row in rows]
