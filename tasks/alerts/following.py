"""How an open alert follows what is observed. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from tasks.alerts.model import Alert, AlertEvent, Observation

_RANKS = ("info", "warning", "critical")


class Followed(NamedTuple):
    """What an observation makes of an open alert; ``event`` is None where it is no news."""

    alert: Alert
    event: AlertEvent | None
    note: str


def follow(alert: Alert, seen: Observation) -> Followed | None:
    """What the observation makes of the open alert; None if nothing.

    Unhealthy counts up, and a graver severity opens an acknowledged alert again: what somebody
    acknowledged was less than this. Healthy often enough in a row resolves. Inconclusive changes
    nothing: that data is missing does not mean that all is well. The end of its subject closes it.
    """
    match seen.health:
        case "unhealthy":
            return _worse(alert, seen)
        case "healthy":
            return _better(alert, seen)
        case "inconclusive":
            return None
        case "over":
            closed = alert.model_copy(update={"state": "resolved"})
            return Followed(closed, "closed", seen.message)


def _worse(alert: Alert, seen: Observation) -> Followed:
    values: dict[str, Any] = {
        "title": seen.title,
        "message": seen.message,
        "details": seen.details,
        "occurrences": alert.occurrences + 1,
        "healthy_streak": 0,
    }
    if _RANKS.index(seen.severity) <= _RANKS.index(alert.severity):
        return Followed(alert.model_copy(update=values), None, "")
    values |= {"severity": seen.severity, "state": "open"}
    note = f"{alert.severity} to {seen.severity}: {seen.message}"
    return Followed(alert.model_copy(update=values), "escalated", note)


def _better(alert: Alert, seen: Observation) -> Followed:
    streak = alert.healthy_streak + 1
    better = alert.model_copy(update={"healthy_streak": streak})
    if streak < seen.healthy_needed:
        return Followed(better, None, "")
    note = f"healthy {streak} time{'s' if streak > 1 else ''} in a row: {seen.message}"
    return Followed(better.model_copy(update={"state": "resolved"}), "resolved", note)
