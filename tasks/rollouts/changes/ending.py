"""What becomes of a rollout's alerts when it ends: nobody looks any more, so nothing heals them."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from tasks.alerts.model import Observation
from tasks.alerts.reading import alerts
from tasks.alerts.recording import observe
from tasks.rollouts.changes.record import Rollout

MOST_ALERTS = 1000
"""More than a rollout can have: one for each check, and a few of its own."""


def ended(rollout: Rollout, metrics: Iterable[str], how: str) -> list[Observation]:
    """What closes the alerts of these metrics: the rollout is over, and how that came."""
    return [
        Observation(
            subject=rollout.subject,
            metric=metric,
            health="over",
            severity="info",
            title=f"rollout {rollout.name} ({rollout.model_version}) is over",
            message=f"the rollout is over ({rollout.state.words}): {how}",
        )
        for metric in metrics
    ]


def close_alerts(tx: Connection, rollout: Rollout, how: str) -> None:
    """Close the alerts of a rollout that somebody ended, but those of harm: they say why."""
    open_ = alerts(tx, subject=rollout.subject, limit=MOST_ALERTS)
    milder = [each.metric for each in open_ if each.severity != "critical"]
    observe(tx, ended(rollout, milder, how))
