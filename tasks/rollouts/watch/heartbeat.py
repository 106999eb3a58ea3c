"""The dead-man switch: a rollout that no tick looks at is guarded by nobody: somebody must know."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from tasks.alerts.model import AlertNews, Observation
from tasks.alerts.recording import observe
from tasks.database import load_queries
from tasks.rollouts.definition.naming import TICK_ALERT

QUERIES = load_queries(__package__, "watch.sql")


def check_heartbeats(tx: Connection) -> list[AlertNews]:
    """Alert of rollouts without a tick for two intervals; a tick, or their end, resolves it."""
    rows = tx.execute(QUERIES["heartbeats"], {"metric": TICK_ALERT}).all()
    return observe(tx, [_observation(row) for row in rows])


def _observation(row: Any) -> Observation:
    named = f"rollout {row.name} ({row.model_version})"
    hours = f"{row.seconds / 3600:.1f} h"
    then = (
        "the database tells nobody to use the version"
        if row.is_fail_closed
        else "its users go on as they are"
    )
    return Observation(
        subject=f"rollout:{row.id}",
        metric=TICK_ALERT,
        health="unhealthy" if row.is_missed else "healthy",
        severity="critical",
        title=f"{named}: nobody guards it" if row.is_missed else f"{named}: it is guarded",
        message=f"no tick for {hours}, two intervals of {row.tick_seconds / 3600:g} h; {then}. Is "
        "progress-rollouts scheduled, and does a worker run?"
        if row.is_missed
        else f"a tick came, or it ended, {hours} ago",
        details={"rollout": row.name, "model_version": row.model_version, "seconds": row.seconds},
        healthy_needed=1,
    )
