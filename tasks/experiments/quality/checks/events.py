"""Are the events all there, and each of them once?"""

from __future__ import annotations

from datetime import UTC

from tasks.experiments.quality.facts import Count, ExperimentFacts, Metric, Sampled, need
from tasks.experiments.quality.model import Figure, QualityCheck
from tasks.experiments.quality.registry import failed, passed, quality_checks, unknown

REPEATED_SHARE = 0.05
"""Of the rows that repeat another one; a join with two matches a row gives 0.5."""

_FEW_ROWS = 5
MISSING_ALPHA = 1e-4
"""Chance at which an arm without any event is taken as not measured."""

_MANY_UNITS = 100


@quality_checks.register("fan-out")
def fan_out(facts: ExperimentFacts) -> QualityCheck:
    """Rows that repeat another of the same unit, type, value and time, as a join's do."""
    sampled = [row for row in need(facts.sampled) if row.rows > 0]
    if not sampled:
        if facts.primary.is_aggregated and all(m.is_aggregated for m in need(facts.metrics)):
            return passed("others aggregated the events, so none can be looked at")
        return unknown("no event has come yet")
    worst = max(sampled, key=lambda row: row.repeated / row.rows)
    share = worst.repeated / worst.rows
    figures: dict[str, Figure] = {
        "event_type": worst.event_type,
        "rows": worst.rows,
        "repeated_rows": worst.repeated,
    }
    if worst.repeated < _FEW_ROWS or share <= REPEATED_SHARE:
        return passed(**figures)
    return _repeated(worst, share).model_copy(update={"figures": figures})


@quality_checks.register("missing-metric")
def missing_metric(facts: ExperimentFacts) -> QualityCheck:
    """Arms, or the whole experiment, without any unit or event of a metric."""
    if not need(facts.metrics):
        return unknown("the experiment has no metric")
    checks = [_judge_metric(facts, metric) for metric in need(facts.metrics)]
    for outcome in ("failed", "unknown"):
        messages = [check.message for check in checks if check.outcome == outcome]
        if messages:
            say = failed if outcome == "failed" else unknown
            return say("; ".join(messages), metrics=len(messages))
    return passed("; ".join(check.message for check in checks if check.message))


def _repeated(sampled: Sampled, share: float) -> QualityCheck:
    message = (
        f"{share:.0%} of {sampled.rows} {sampled.event_type} events repeat another of the same "
        "unit, value and time"
    )
    if sampled.is_rounded:
        return unknown(
            f"{message}; no time has seconds, so these may be rows twice or events of one minute. "
            "Send exact times, and an event_id with each event"
        )
    return failed(
        f"{message}, as a join with several matches a row makes them. Correct the query, give each "
        "event its event_id, and load again"
    )


def _judge_metric(facts: ExperimentFacts, metric: Metric) -> QualityCheck:
    counts = facts.whole_arms(metric.name)
    arms = [arm.name for arm in need(facts.variants) if arm.name in counts]
    if not arms or not any(counts[arm].assigned for arm in arms):
        return _nobody(facts, metric)
    if metric.is_aggregated:
        empty = [arm for arm in arms if counts[arm].assigned and not counts[arm].n]
        return _empty_arms(metric, empty)
    if not any(counts[arm].converted for arm in arms):
        return _no_event(metric, [counts[arm] for arm in arms])
    rates = {arm: _chance_of_none(metric, counts, arm) for arm in arms if not counts[arm].converted}
    return _empty_arms(
        metric,
        [arm for arm, chance in rates.items() if chance < MISSING_ALPHA],
        [arm for arm, chance in rates.items() if chance >= MISSING_ALPHA],
    )


def _nobody(facts: ExperimentFacts, metric: Metric) -> QualityCheck:
    if facts.age_hours is None or facts.age_hours <= 24:
        return unknown(f"{metric.name}: no unit is assigned yet")
    return failed(
        f"{metric.name}: no unit is assigned since the start {facts.age_hours:.0f} h ago. See "
        "whether the application asks for an arm, and whom the target rules let in"
    )


def _no_event(metric: Metric, arms: list[Count]) -> QualityCheck:
    units = sum(_measured(metric, arm) for arm in arms)
    waits = _open_windows(arms)
    if waits and not units:
        message = f"{metric.name}: {waits}"
    else:
        message = f"{metric.name}: none of {units} units has an event {metric.event_type!r}"
    if metric.role == "secondary":
        return passed(message)
    if waits and not units:
        return unknown(message)
    if units < _MANY_UNITS:
        return unknown(f"{message} yet{f'; {waits}' if waits else ''}")
    return failed(f"{message}. See whether the application sends that type, spelt like this")


def _open_windows(arms: list[Count]) -> str:
    """How many units may still have an event; nothing where all windows are over."""
    ends = [arm.closes_at for arm in arms if arm.closes_at is not None]
    if not ends:
        return ""
    first = min(ends).astimezone(UTC)
    units = sum(arm.windows_open for arm in arms)
    return (
        f"the windows of {units} units are still open, the first until {first:%Y-%m-%d %H:%M} UTC"
    )


def _empty_arms(metric: Metric, missing: list[str], lucky: list[str] | None = None) -> QualityCheck:
    if missing and metric.role != "secondary":
        return failed(
            f"{metric.name}: {', '.join(missing)} has no event {metric.event_type!r} though others "
            "do, which is no chance. See whether that arm's events are sent and loaded"
        )
    quiet = [*missing, *(lucky or [])]
    if quiet:
        return passed(f"{metric.name}: {', '.join(quiet)} has no event {metric.event_type!r} yet")
    return passed()


def _chance_of_none(metric: Metric, counts: dict[str, Count], arm: str) -> float:
    """The chance that none of the arm's units has an event, at the rate of the other arms."""
    others = [count for name, count in counts.items() if name != arm]
    units = sum(_measured(metric, count) for count in others)
    rate = sum(count.converted for count in others) / units if units else 0.0
    return max(1.0 - rate, 0.0) ** _measured(metric, counts[arm])


def _measured(metric: Metric, count: Count) -> int:
    """Units that could have an event: where none counts as zero, those that have a value by now."""
    return count.n if metric.missing == "zero" else count.assigned - count.windows_open
