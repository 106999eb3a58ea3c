"""One rollout in detail, as a page for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from tasks import markdown
from tasks.rollouts.definition.state import State
from tasks.rollouts.health.measured import Health
from tasks.rollouts.reporting.detail import LastCheck, RolloutDetail
from tasks.rollouts.reporting.report import picture
from tasks.rollouts.reporting.timeline import timeline

_MARKS = {Health.HEALTHY: "✅", Health.UNHEALTHY: "❌", Health.INCONCLUSIVE: "❔"}


def as_markdown(detail: RolloutDetail) -> str:
    """The page: where it stands, two pictures, health by both guards, alerts, decision, changes."""
    rollout = detail.rollout
    name = markdown.plain(rollout.name)
    words = f"{rollout.percentage:g} % of users, {rollout.state.words}"
    if detail.is_closed:
        words = f"closed, 0 % of users instead of {rollout.percentage:g} %: its ticks do not come"
    parts = [f"# Rollout {name}: {words}", _standing(detail), *_held_out(detail)]
    parts += _pictures(detail)
    parts.append(markdown.table(("field", "value"), _plan(detail)))
    if detail.checks:
        parts += [f"## Health at {detail.checks[0].slot}", _health(detail)]
    if detail.alerts:
        parts += ["## Open alerts", _alerts(detail)]
    if detail.last_decision is not None:
        parts += [f"## Last decision: {detail.last_decision.verdict}", _decision(detail)]
    parts += ["## What was done, the newest first", _changes(detail)]
    return "\n\n".join(parts) + "\n"


def _standing(detail: RolloutDetail) -> str:
    rollout, step = detail.rollout, detail.next_step
    where = f"Version `{markdown.plain(rollout.model_version)}`"
    if rollout.state.is_begun:
        stages = len(rollout.schedule.stages)
        where += f", stage {rollout.stage_index + 1} of {stages}{_lasted(detail.seconds_in_stage)}"
    if step is None:
        return f"{where}."
    target = "complete" if step.step == "complete" else f"{step.step} at {step.percentage:g} %"
    return f"{where}. Next, if it is healthy: **{target}**, from {_utc(step.due_at)} on."


def _held_out(detail: RolloutDetail) -> Iterator[str]:
    """Who does not get it at any percentage: their code must stay."""
    for holdout in detail.holdouts:
        whom = "those that it targets" if holdout.is_targeted else "all users"
        told = f"{100 * holdout.share:.3g} % of {whom}, {holdout.users:,} of them assigned"
        if holdout.status == "paused":
            told = f"the {holdout.users:,} that it has: it is paused"
        yield (
            f"Holdout **{markdown.plain(holdout.name)}** keeps users on the old version until it "
            f"ends ({told}). Keep the old code until then."
        )


def _lasted(seconds: float) -> str:
    """How long a stage has lasted, in the unit that people say it in."""
    if seconds < 1:
        return ", just begun"
    if seconds < 60:
        return f" for {seconds:.0f} s"
    if seconds < 3600:
        return f" for {seconds / 60:.0f} min"
    return f" for {seconds / 3600:.3g} h"


def _pictures(detail: RolloutDetail) -> Iterator[str]:
    rollout = detail.rollout
    yield picture(rollout.schedule, rollout.stage_index, rollout.percentage, rollout.state)
    if detail.moves:
        until = rollout.finished_at or detail.read_at
        title = f"{rollout.name} over time: percentage of users, health and limits"
        yield timeline(detail.moves, detail.measurements, until, title)


def _plan(detail: RolloutDetail) -> Iterator[tuple[str, str]]:
    rollout, origin = detail.rollout, detail.origin
    yield "schedule", str(rollout.schedule)
    yield "guard", rollout.policy.guard + (", strict" if rollout.policy.is_strict else "")
    given = {
        "starts at": rollout.starts_at and _utc(rollout.starts_at),
        "control version": rollout.control_version,
        "organization": rollout.organization,
        "exclusion group": rollout.exclusion_group,
        "requests an hour": rollout.requests_per_hour and f"{rollout.requests_per_hour:g}",
        "fails closed": rollout.is_fail_closed and f"after 2 × {rollout.tick_seconds:g} s",
        "freezes": "; ".join(map(str, rollout.policy.freezes)),
        "respects holdouts": rollout.respects_holdouts and _holdouts_asked(rollout.state),
        "experiment": origin and f"{origin.experiment}, variant {origin.variant}",
    }
    yield from ((field, str(value)) for field, value in given.items() if value)


def _holdouts_asked(state: State) -> str:
    if state in {State.DRAFT, State.SCHEDULED}:
        return "those that run when it begins"
    return "those that ran when it began"


def _health(detail: RolloutDetail) -> str:
    head = ("check", "value", "must be", "n", "control", "verdict", "the other guard")
    rows = (
        (
            f"{check.metric} (shadow)" if check.is_shadow else check.metric,
            _number(check.value),
            f"{check.operator or ''} {check.limit:g}",
            _number(check.sample_count),
            _number(check.control_value),
            f"{_MARKS[check.verdict]} {check.guard}: {check.message}",
            _other(check),
        )
        for check in detail.checks
    )
    return markdown.table(head, rows)


def _other(check: LastCheck) -> str:
    if check.shadow_verdict is None:
        return "–"
    return f"{_MARKS[check.shadow_verdict]} {check.shadow_guard}: {check.shadow_message}"


def _alerts(detail: RolloutDetail) -> str:
    rows = (
        (alert.id, alert.severity, alert.state, alert.title, alert.message, _utc(alert.opened_at))
        for alert in detail.alerts
    )
    return markdown.table(("alert", "severity", "state", "what", "why", "since"), rows)


def _decision(detail: RolloutDetail) -> str:
    decision = detail.last_decision
    if decision is None:
        return ""
    reasons = [f"- `{each.code}` {markdown.plain(each.message)}" for each in decision.reasons]
    return "\n".join([*reasons, "", f"Decision {decision.id}, {_utc(decision.decided_at)}."])


def _changes(detail: RolloutDetail) -> str:
    rows = (
        (
            _utc(change.changed_at),
            change.cause.replace("_", " "),
            f"{change.old_percentage:g} → {change.new_percentage:g}",
            change.new_state.words,
            change.actor,
            change.reason,
        )
        for change in detail.changes
    )
    return markdown.table(("when", "what", "%", "state", "who", "why"), rows)


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%F %H:%M} UTC"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.6g}"
