"""Handle alerts: say that somebody looks after one, or that it is over."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flows.artifacts import publish_report
from flows.notify import send_unsent
from flows.pipeline import Text, pipeline
from tasks.alerts import steps
from tasks.alerts.handling import Handled

AlertNumber = Annotated[int, Field(ge=1)]


@pipeline(name="acknowledge-alert", run_name="acknowledge-alert/{alert}")
def acknowledge_alert(alert: AlertNumber, actor: Text, reason: Text) -> Handled:
    """Say that somebody looks after an alert: it stays open, and tells nobody until it gets worse.

    Args:
        alert: Its number, as `headway alert list` shows it.
        actor: Who looks after it.
        reason: What is being done; kept with the alert.
    """
    return _reported(steps.acknowledge_alert(alert_id=alert, actor=actor, reason=reason))


@pipeline(name="resolve-alert", run_name="resolve-alert/{alert}")
def resolve_alert(alert: AlertNumber, actor: Text, reason: Text) -> Handled:
    """Say that an alert is over. What is still unhealthy at the next look opens a new one.

    Args:
        alert: Its number, as `headway alert list` shows it.
        actor: Who resolves it.
        reason: Why it is over; kept with the alert.
    """
    handled = _reported(steps.resolve_alert(alert_id=alert, actor=actor, reason=reason))
    send_unsent()
    return handled


def _reported(handled: Handled) -> Handled:
    alert = handled.alert
    publish_report(
        f"alert-{alert.id}", f"**{handled.summary}**\n\n{alert.message}\n\nNote: {handled.note}"
    )
    return handled
