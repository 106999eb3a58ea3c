"""The hazards of a plan as a table for its artifact. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from tasks import markdown
from tasks.migrations.hazards.model import Hazard

_ORDER = ("critical", "high", "warning", "advice")


def hazard_table(found: Iterable[Hazard], approvals: Iterable[str] = ()) -> str:
    """The hazards as markdown, the worst first; those that are harmless here are only counted."""
    every, approved = tuple(found), set(approvals)
    shown = [hazard for hazard in every if hazard.outcome != "dismissed" or _is_measured(hazard)]
    if not every:
        return "No hazards."
    shown.sort(key=lambda h: (h.outcome == "dismissed", _ORDER.index(h.severity)))
    head = ("revision", "severity", "hazard", "statement", "state", "instead")
    rows = (
        (
            hazard.revision,
            hazard.severity,
            f"{hazard.code}: {hazard.message}",
            hazard.statement,
            _state(hazard, approved),
            hazard.safe_rewrite,
        )
        for hazard in shown
    )
    lines = [markdown.table(head, rows)] if shown else []
    hidden = len(every) - len(shown)
    lines += [f"{hidden} more would be hazards elsewhere, and are none here."] * bool(hidden)
    return "\n\n".join(lines)


def _is_measured(hazard: Hazard) -> bool:
    return (hazard.evidence or "").startswith("rehearsed")


def _state(hazard: Hazard, approved: set[str]) -> str:
    if hazard.outcome != "open":
        return f"{hazard.outcome}: {hazard.evidence}"
    if hazard.severity == "high":
        return "approved" if hazard.approval in approved else f"approve: {hazard.approval}"
    return "blocks" if hazard.severity == "critical" else "noted"
