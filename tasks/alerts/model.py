"""What was observed of a subject, the alert that it may open, and what becomes of the alert."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Severity: TypeAlias = Literal["info", "warning", "critical"]
AlertState: TypeAlias = Literal["open", "acknowledged", "resolved"]
AlertEvent: TypeAlias = Literal["opened", "escalated", "resolved", "closed"]
Name: TypeAlias = Annotated[str, Field(min_length=1)]


class Observation(BaseModel):
    """What one look found of one metric of one subject (``rollout:7``, say).

    ``healthy_needed`` is how many healthy looks in a row resolve the alert that an unhealthy one
    opened; an inconclusive look, as when data is missing, changes nothing. ``over`` says that
    nobody looks any more: what is open is closed, with the message as its note.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: Name
    metric: Name
    health: Literal["healthy", "unhealthy", "inconclusive", "over"]
    severity: Severity
    title: str
    message: str
    details: dict[str, Any] = {}
    healthy_needed: Annotated[int, Field(ge=1)] = 3

    @property
    def key(self) -> tuple[str, str]:
        """What names the one open alert."""
        return self.subject, self.metric


class Alert(BaseModel):
    """An alert as it stands."""

    model_config = ConfigDict(frozen=True)

    id: int
    subject: str
    metric: str
    severity: Severity
    state: AlertState
    title: str
    message: str
    details: dict[str, Any]
    occurrences: int
    healthy_streak: int
    opened_at: datetime
    seen_at: datetime
    acknowledged_at: datetime | None = None
    resolved_at: datetime | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What names the one open alert."""
        return self.subject, self.metric


class AlertNews(BaseModel):
    """An alert that opened, got worse, was resolved by healthy looks, or closed at an end."""

    model_config = ConfigDict(frozen=True)

    event: AlertEvent
    alert: Alert
    note: str

    @property
    def summary(self) -> str:
        """One line."""
        return f"alert {self.alert.id} ({self.alert.severity}) {self.event}: {self.alert.title}"
