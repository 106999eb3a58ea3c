"""What a person does about an alert: acknowledge it, resolve it; each with a note."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks.alerts.model import Alert, AlertNews, AlertState
from tasks.alerts.recording import QUERIES
from tasks.alerts.telling import tell
from tasks.errors import NotFound, Reason, Refused


class Handled(BaseModel):
    """What was done about an alert; ``is_noop`` if nothing but the note was new."""

    model_config = ConfigDict(frozen=True)

    alert: Alert
    old_state: AlertState
    note: str

    @property
    def is_noop(self) -> bool:
        """True if it stood so before."""
        return self.old_state == self.alert.state

    @property
    def summary(self) -> str:
        """One line."""
        before = "again " if self.is_noop else ""
        return f"alert {self.alert.id} {before}{self.alert.state}: {self.alert.title}"


def acknowledge(tx: Connection, alert_id: int, actor: str, note: str) -> Handled:
    """Say that somebody looks after it: it stays, and tells nobody until it gets worse.

    A second time only the note is kept. Refused where it is resolved; NotFound if there is none.
    """
    alert = _lock(tx, alert_id)
    if alert.state == "resolved":
        message = "it is resolved; if it comes back it is a new alert"
        raise Refused(f"acknowledging alert {alert_id}", [Reason("resolved", message)])
    return _set(tx, alert, "acknowledged", actor, note)


def resolve(tx: Connection, alert_id: int, actor: str, note: str) -> Handled:
    """Say that it is over; what is still unhealthy at the next look opens a new alert.

    A second time only the note is kept. NotFound if there is none.
    """
    handled = _set(tx, _lock(tx, alert_id), "resolved", actor, note)
    if not handled.is_noop:
        told = AlertNews(event="resolved", alert=handled.alert, note=f"by {actor}: {note}")
        tell(tx, [told])
    return handled


def _lock(tx: Connection, alert_id: int) -> Alert:
    row = tx.execute(QUERIES["lock_alert"], {"alert_id": alert_id}).mappings().one_or_none()
    if row is None:
        raise NotFound(f"there is no alert with the number {alert_id}")
    return Alert.model_validate(dict(row))


def _set(tx: Connection, alert: Alert, state: AlertState, actor: str, note: str) -> Handled:
    after = alert
    if alert.state != state:
        changed = {"alert_id": alert.id, "state": state}
        row: Any = tx.execute(QUERIES["set_alert_state"], changed).mappings().one()
        after = Alert.model_validate(dict(row))
    change = {"alert_id": alert.id, "old_state": alert.state, "new_state": state, "note": note}
    tx.execute(QUERIES["record_alert_change"], change | {"actor": actor})
    return Handled(alert=after, old_state=alert.state, note=note)
