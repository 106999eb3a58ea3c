"""What a tick saw that needs a person's eye, as alerts are told of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tasks.alerts.model import Observation, Severity
from tasks.rollouts.changes.ending import ended
from tasks.rollouts.definition.naming import SOURCE_ALERT, UNKNOWN_ALERT
from tasks.rollouts.health.measured import CheckResult, Health
from tasks.rollouts.ticks.ticked import Ticked, is_source_trouble


def observations_of(each: Ticked) -> list[Observation]:
    """What is unhealthy now, and what is healthy of that which an alert is open for.

    A check in shadow is only shown. That a source cannot be read, or that health has not been known
    for too long, are alerts of their own: missing data resolves nothing, nor does a second
    look at a slot. What ends a rollout closes its alerts, but those of the harm that it is rolled
    back for: these are a person's to resolve.
    """
    seen = list(_seen(each))
    if each.verdict == "skip":
        return [one for one in seen if one.health == "unhealthy"]
    if not each.is_end:
        return seen
    harm = [one for one in seen if each.verdict == "rollback" and _is_grave(one)]
    others = sorted(each.before.alerted - {one.metric for one in harm})
    return [*harm, *ended(each.after, others, each.said)]


def _is_grave(seen: Observation) -> bool:
    return seen.severity == "critical" and seen.metric != SOURCE_ALERT


def _seen(each: Ticked) -> Iterator[Observation]:
    for check in each.move.checks:
        if not check.is_shadow and _is_news(each, check):
            yield _of_check(each, check)
    yield from _of_sources(each)
    yield from _of_unknown(each)


def _is_news(each: Ticked, check: CheckResult) -> bool:
    is_open = check.check in each.before.alerted
    return check.health is Health.UNHEALTHY or (check.health is Health.HEALTHY and is_open)


def _of_check(each: Ticked, check: CheckResult) -> Observation:
    value = "–" if check.value is None else f"{check.value:.6g}"
    must = f"{check.operator} {check.limit:g}"
    return Observation(
        subject=each.before.subject,
        metric=check.check,
        health=check.health.value,
        severity=_severity(each, check),
        title=f"{_named(each)}: {check.check} is {value}, must be {must}",
        message=check.reason.message,
        details=_details(each)
        | {
            "value": check.value,
            "limit": check.limit,
            "operator": check.operator,
            "sample_count": check.sample_count,
            "window_start": check.window_start.isoformat(),
            "window_end": check.window_end.isoformat(),
            "is_shared": check.judgement.is_shared,
        },
    )


def _severity(each: Ticked, check: CheckResult) -> Severity:
    # What all versions suffer is no less bad for the users, although this one is not to blame.
    is_harm = each.verdict == "rollback" and check.reason in each.reasons
    is_grave = is_harm or check.judgement.is_shared
    return "critical" if is_grave else "warning"


def _of_sources(each: Ticked) -> Iterator[Observation]:
    troubles = [check for check in each.move.checks if is_source_trouble(check)]
    if troubles:
        messages = "; ".join(check.reason.message for check in troubles)
        yield _of_rollout(each, SOURCE_ALERT, "unhealthy", "cannot be checked", messages)
    elif each.move.checks and SOURCE_ALERT in each.before.alerted:
        yield _of_rollout(each, SOURCE_ALERT, "healthy", "can be checked", "every source was read")


def _of_unknown(each: Ticked) -> Iterator[Observation]:
    overdue = next((why for why in each.reasons if why.code == "max-hold"), None)
    if overdue is not None and (each.move.is_escalated or each.verdict == "rollback"):
        yield _of_rollout(each, UNKNOWN_ALERT, "unhealthy", "health is not known", overdue.message)
    elif each.move.health is Health.HEALTHY and UNKNOWN_ALERT in each.before.alerted:
        yield _of_rollout(
            each, UNKNOWN_ALERT, "healthy", "health is known", "every check is healthy"
        )


def _of_rollout(each: Ticked, metric: str, health: Any, what: str, message: str) -> Observation:
    return Observation(
        subject=each.before.subject,
        metric=metric,
        health=health,
        severity="critical" if each.verdict == "rollback" else "warning",
        title=f"{_named(each)}: {what}",
        message=message,
        details=_details(each),
        healthy_needed=1,
    )


def _named(each: Ticked) -> str:
    return f"rollout {each.before.name} ({each.before.model_version})"


def _details(each: Ticked) -> dict[str, Any]:
    return {
        "rollout": each.before.name,
        "model_version": each.before.model_version,
        "verdict": each.verdict,
        "percentage": each.after.percentage,
        "decision_id": each.decided.id,
    }
