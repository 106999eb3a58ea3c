"""What a person reads about a rollout: its stages as a picture, what was done, and why."""

from __future__ import annotations

from tasks import markdown
from tasks.rollouts.changes.outcome import ManualOutcome
from tasks.rollouts.definition.schedule import Schedule
from tasks.rollouts.definition.state import State

_COLOURS = {
    State.DRAFT: "#9ca3af",
    State.SCHEDULED: "#9ca3af",
    State.RUNNING: "#2563eb",
    State.PAUSED: "#d97706",
    State.MANUAL_HOLD: "#d97706",
    State.COMPLETED: "#16a34a",
    State.PARTIAL: "#16a34a",
    State.ROLLED_BACK: "#dc2626",
}
_BAR, _GAP, _HEIGHT = 96, 8, 120


def manual_report(outcome: ManualOutcome, actor: str, reason: str) -> str:
    """Markdown on what a person did."""
    return "\n".join(
        [
            f"# Rollout {markdown.plain(outcome.name)}: {outcome.done}",
            "",
            _headline(outcome),
            "",
            f"By **{markdown.plain(actor)}**: {markdown.plain(reason)}",
            "",
        ]
    )


def picture(schedule: Schedule, stage_index: int, percentage: float, state: State) -> str:
    """The stages as a staircase: a markdown image, with the same in words as its text."""
    bars = [
        _bar(index, stage.percentage, stage.hours, _colour(index, stage_index, state))
        for index, stage in enumerate(schedule.stages)
    ]
    width = len(bars) * (_BAR + _GAP)
    text = f"{percentage:g} % of users, {state.words}; stages {schedule}"
    return f"![{text}]({markdown.picture(width, _HEIGHT + 44, ''.join(bars))})"


def _bar(index: int, percentage: float, hours: float, colour: str) -> str:
    height = max(percentage / 100 * _HEIGHT, 2)
    left, top = index * (_BAR + _GAP), _HEIGHT + 16 - height
    middle, centred = left + _BAR / 2, 'text-anchor="middle"'
    return (
        f'<rect x="{left}" y="{top:.1f}" width="{_BAR}" height="{height:.1f}" fill="{colour}"/>'
        f'<text x="{middle}" y="{top - 4:.1f}" {centred}>{percentage:g} %</text>'
        f'<text x="{middle}" y="{_HEIGHT + 36}" {centred} fill="#6b7280">{hours:g} h</text>'
    )


def _colour(index: int, stage_index: int, state: State) -> str:
    if index > stage_index:
        return "#d1d5db"
    return _COLOURS[state] if index == stage_index or state.is_finished else "#93c5fd"


def _headline(outcome: ManualOutcome) -> str:
    return (
        f"Version `{markdown.plain(outcome.model_version)}`: {outcome.old_percentage:g} % → "
        f"**{outcome.percentage:g} %**, now **{outcome.state.words}**."
    )
