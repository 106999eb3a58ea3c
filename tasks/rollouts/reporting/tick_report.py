"""What a person reads about a tick: what moved and what is unwell in full, the rest in a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from tasks import markdown
from tasks.rollouts.health.measured import CheckResult, Health
from tasks.rollouts.reporting.report import picture
from tasks.rollouts.ticks.tick import TickOutcome

_MARKS = {Health.HEALTHY: "✅", Health.UNHEALTHY: "❌", Health.INCONCLUSIVE: "❔"}
_MOVES = ("rollback", "complete", "advance", "start")
_MOST_SECTIONS, _MOST_LINES, _MOST_CHECKS = 25, 100, 1000


def warnings_of(outcome: TickOutcome) -> list[str]:
    """The log lines that a rollback, or a hold that lasts too long, deserves."""
    if outcome.verdict != "rollback" and not outcome.is_escalated:
        return []
    if outcome.verdict == "rollback":
        what = f"rolled back from {outcome.old_percentage:g} % to 0 %"
    else:
        what = f"held at {outcome.percentage:g} %"
    blamed = [check for check in outcome.checks if check.reason in outcome.reasons]
    first = outcome.reasons[0]
    lines = [f"{_blame(check)}; {_window(check)}" for check in blamed]
    if first.code == "max-hold":
        lines.insert(0, first.message)
    subject = f"rollout {outcome.name} ({outcome.model_version})"
    return [f"{subject} {what}: {line}" for line in lines]


def progress_report(slot: str, outcomes: Sequence[TickOutcome], failures: Mapping[str, str]) -> str:
    """Markdown on one tick of all rollouts; it stays short however many there are."""
    head = f"# Rollouts at {slot}\n"
    if not outcomes and not failures:
        return f"{head}\nNo rollout is under way.\n"
    telling = sorted((each for each in outcomes if each.is_telling), key=_rank)
    quiet = [each for each in outcomes if not each.is_telling]
    return "\n".join(
        [
            head,
            _counts(outcomes, failures),
            *(f"## {name}\n\n**Failed**: {why}\n" for name, why in _first(failures)),
            *map(_section, telling[:_MOST_SECTIONS]),
            *_lines("More that moved or is not healthy", telling[_MOST_SECTIONS:]),
            *_lines("All others", quiet),
        ]
    )


def check_rows(outcomes: Sequence[TickOutcome]) -> list[dict[str, str]]:
    """A row for each check, those that are not healthy first, as a table to look through."""
    found = [(outcome, check) for outcome in outcomes for check in outcome.checks]
    found.sort(key=lambda each: each[1].health is Health.HEALTHY)
    return [
        {
            "rollout": outcome.name,
            "check": check.check,
            "value": _number(check.value),
            "must be": f"{check.operator or ''} {check.limit:g}",
            "n": _number(check.sample_count),
            "verdict": check.health.value,
            "why": check.reason.message,
            "guard": check.judgement.guard,
            "control": _number(check.control_value),
            "other guard": f"{check.shadow.guard}: {check.shadow.health}" if check.shadow else "",
        }
        for outcome, check in found[:_MOST_CHECKS]
    ]


def _rank(outcome: TickOutcome) -> tuple[int, int]:
    moved = _MOVES.index(outcome.verdict) if outcome.verdict in _MOVES else len(_MOVES)
    return min(moved, 1) if outcome.health is not Health.UNHEALTHY else -1, moved


def _counts(outcomes: Sequence[TickOutcome], failures: Mapping[str, str]) -> str:
    counted = Counter(outcome.verdict for outcome in outcomes)
    if failures:
        counted["failed"] = len(failures)
    return f"{markdown.table(('verdict', 'rollouts'), counted.most_common())}\n"


def _first(failures: Mapping[str, str]) -> list[tuple[str, str]]:
    return list(failures.items())[:_MOST_LINES]


def _lines(title: str, outcomes: Sequence[TickOutcome]) -> list[str]:
    if not outcomes:
        return []
    rows = [
        (
            outcome.name,
            outcome.model_version,
            f"{outcome.old_percentage:g} % → {outcome.percentage:g} %",
            outcome.verdict,
            "; ".join(reason.message for reason in outcome.reasons),
        )
        for outcome in outcomes[:_MOST_LINES]
    ]
    table = markdown.table(("rollout", "version", "traffic", "verdict", "why"), rows)
    left = len(outcomes) - len(rows)
    return [f"## {title}\n\n{table}\n", *([f"… and {left:,} more.\n"] if left else [])]


def _section(outcome: TickOutcome) -> str:
    moved = f"{outcome.old_percentage:g} % → **{outcome.percentage:g} %**"
    lines = [
        f"## {markdown.plain(outcome.name)}: {outcome.verdict}",
        "",
        f"Version `{outcome.model_version}`: {moved}, now **{outcome.state.words}**.",
        "",
        *_held_out(outcome),
        picture(outcome.schedule, outcome.stage_index, outcome.percentage, outcome.state),
        "",
        *(f"- `{reason.code}` {markdown.plain(reason.message)}" for reason in outcome.reasons),
        "",
    ]
    if outcome.checks:
        lines += [_table(outcome.checks), "", f"Decision {outcome.decision_id}.", ""]
    return "\n".join(lines)


def _held_out(outcome: TickOutcome) -> list[str]:
    if not outcome.holdouts:
        return []
    names = ", ".join(map(markdown.plain, outcome.holdouts))
    told = f"But for who is held out by **{names}**: they need the old code until it ends."
    return [told, ""]


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
