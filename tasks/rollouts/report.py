"""What a person reads about a rollout: its stages as a picture, its checks, and why."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from tasks import markdown
from tasks.rollouts.health.measured import CheckResult, Health
from tasks.rollouts.outcome import ManualOutcome
from tasks.rollouts.schedule import Schedule
from tasks.rollouts.state import State
from tasks.rollouts.tick import TickOutcome

_MARKS = {Health.HEALTHY: "✅", Health.UNHEALTHY: "❌", Health.INCONCLUSIVE: "❔"}
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


def warnings_of(outcome: TickOutcome) -> list[str]:
    """The log lines that a rollback, or a hold that lasts too long, deserves."""
    if outcome.verdict != "rollback" and not outcome.is_escalated:
        return []
    if outcome.verdict == "rollback":
        what = f"rolled back from {outcome.old_percentage:g} % to 0 %"
    else:
        what = f"held at {outcome.percentage:g} %"
    blamed = [check for check in outcome.checks if check.health is outcome.health]
    first = outcome.reasons[0]
    lines = [f"{_blame(check)}; {_window(check)}" for check in blamed]
    if first.code == "max-hold":
        lines.insert(0, first.message)
    subject = f"rollout {outcome.name} ({outcome.model_version})"
    return [f"{subject} {what}: {line}" for line in lines]


def progress_report(slot: str, outcomes: Sequence[TickOutcome], failures: dict[str, str]) -> str:
    """Markdown on one tick of all rollouts."""
    head = f"# Rollouts at {slot}\n\n"
    if not outcomes and not failures:
        return f"{head}No rollout is under way.\n"
    failed = [f"## {name}\n\n**Failed**: {message}\n" for name, message in failures.items()]
    return head + "\n".join([*failed, *(_tick_section(outcome) for outcome in outcomes)])


def manual_report(outcome: ManualOutcome, actor: str, reason: str) -> str:
    """Markdown on what a person did."""
    done = "nothing to do" if outcome.is_noop else outcome.action.replace("_", " ")
    return "\n".join(
        [
            f"# Rollout {outcome.name}: {done}",
            "",
            _headline(outcome),
            "",
            f"By **{markdown.plain(actor)}**: {markdown.plain(reason)}",
            "",
            picture(outcome.schedule, outcome.stage_index, outcome.percentage, outcome.state),
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
    text = f"{percentage:g} % of users, {_words(state)}; stages {schedule}"
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


def _tick_section(outcome: TickOutcome) -> str:
    lines = [
        f"## {outcome.name}: {outcome.verdict}",
        "",
        _headline(outcome),
        "",
        picture(outcome.schedule, outcome.stage_index, outcome.percentage, outcome.state),
        "",
        *(f"- `{reason.code}` {reason.message}" for reason in outcome.reasons),
        "",
    ]
    if outcome.checks:
        lines += [_table(outcome.checks), "", f"Decision {outcome.decision_id}.", ""]
    return "\n".join(lines)


def _headline(outcome: TickOutcome | ManualOutcome) -> str:
    return (
        f"Version `{outcome.model_version}`: {outcome.old_percentage:g} % → "
        f"**{outcome.percentage:g} %**, now **{_words(outcome.state)}**."
    )


def _table(checks: Sequence[CheckResult]) -> str:
    rows = (
        (
            check.check,
            _number(check.value),
            f"{check.operator or ''} {check.limit:g}",
            _number(check.sample_count),
            f"{_MARKS[check.health]} {check.reason.code}",
        )
        for check in checks
    )
    return markdown.table(("check", "value", "must be", "n", "verdict"), rows)


def _window(check: CheckResult) -> str:
    return f"window {_utc(check.window_start)} to before {_utc(check.window_end)}"


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%F %T} UTC"


def _blame(check: CheckResult) -> str:
    count = "not given" if check.sample_count is None else check.sample_count
    must = f"must be {check.operator} {check.limit:g}" if check.operator else "could not be judged"
    return f"{check.check} = {_number(check.value)} ({must}, n={count}): {check.reason.code}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.6g}"


def _words(state: State) -> str:
    return state.value.replace("_", " ")


def check_rows(outcomes: Sequence[TickOutcome]) -> list[dict[str, str]]:
    """One row for each check of each rollout, as a table to look through."""
    return [
        {
            "rollout": outcome.name,
            "check": check.check,
            "value": _number(check.value),
            "must be": f"{check.operator or ''} {check.limit:g}",
            "n": _number(check.sample_count),
            "verdict": check.health.value,
            "why": check.reason.message,
        }
        for outcome in outcomes
        for check in outcome.checks
    ]
