"""Is everybody measured: the whole experiment, and each arm?

An arm without any event may be a bad arm, or one whose events are lost. What tells them apart is
whether its units are heard of by other events; and where nothing can rest on it, it need not hold
up the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC

from tasks.experiments.quality.facts import Count, ExperimentFacts, Metric, need
from tasks.experiments.quality.model import QualityCheck
from tasks.experiments.quality.registry import failed, passed, quality_checks, unknown

MISSING_ALPHA = 1e-4
"""Chance at which an arm without any event is taken as not measured."""

HEARD_SHARE = 0.5
"""Of the rate at which the other arms send another event: an arm that does as often is heard of."""

MISSING = "missing-metric"
PRIMARY = "primary"
"""The figure that is 1 where traffic that follows the primary metric would follow what is missing.

Not where a 0 makes every arm without events the worst one: traffic turns from it by itself.
"""

_TURNS_AWAY = "turns_away"
_MANY_UNITS = 100
_Counts = Mapping[str, Count]


@quality_checks.register(MISSING)
def missing_metric(facts: ExperimentFacts) -> QualityCheck:
    """Arms, or the whole experiment, without any unit or event of a metric."""
    if not need(facts.metrics):
        return unknown("the experiment has no metric")
    judged = [(metric, _judge_metric(facts, metric)) for metric in need(facts.metrics)]
    misled = [check for metric, check in judged if _misleads(metric, check)]
    for outcome in ("failed", "unknown"):
        found = [check for _, check in judged if check.outcome == outcome]
        if found:
            say = failed if outcome == "failed" else unknown
            told = [*misled, *(check for check in found if check not in misled)]
            primary = {PRIMARY: 1} if misled else {}
            return say("; ".join(check.message for check in told), metrics=len(told), **primary)
    return passed("; ".join(check.message for _, check in judged if check.message))


def _misleads(metric: Metric, check: QualityCheck) -> bool:
    """Whether traffic that follows this metric would follow what is missing."""
    is_closed = metric.role == "primary" and check.outcome != "passed"
    return is_closed and not check.figures.get(_TURNS_AWAY)


def _judge_metric(facts: ExperimentFacts, metric: Metric) -> QualityCheck:
    counts = facts.whole_arms(metric.name)
    arms = [arm.name for arm in need(facts.variants) if arm.name in counts]
    if not arms or not any(counts[arm].assigned for arm in arms):
        return _nobody(facts, metric)
    if metric.is_aggregated:
        empty = [arm for arm in arms if counts[arm].assigned and not counts[arm].n]
        return _empty_arms(facts, metric, empty, empty)
    if not any(counts[arm].converted for arm in arms):
        return _no_event(metric, [counts[arm] for arm in arms])
    empty = [arm for arm in arms if not counts[arm].converted]
    silent = [arm for arm in empty if _chance_of_none(metric, counts, arm) < MISSING_ALPHA]
    return _empty_arms(facts, metric, empty, silent)


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


def _empty_arms(
    facts: ExperimentFacts, metric: Metric, empty: list[str], silent: list[str]
) -> QualityCheck:
    """Judge arms without an event, of which chance does not explain the silent ones."""
    excused = {arm: why for arm in silent if (why := _excuse(facts, metric, arm))}
    missing = [arm for arm in silent if arm not in excused]
    none = f"has no event {metric.event_type!r}"
    if missing and metric.role != "secondary":
        turns_away = {_TURNS_AWAY: 1} if _are_worst(facts, metric, missing, empty) else {}
        return failed(
            f"{metric.name}: {', '.join(missing)} {none} though others do, which is no chance. See "
            "whether that arm's events are sent and loaded. If they are, switch that arm off "
            "(its weight 0), or choose by hand (`headway experiment select-winner "
            f"{facts.experiment} --variant ARM --force`)",
            **turns_away,
        )
    told = [
        f"{arm} {none} though others do, and holds up nobody: {excused[arm]}" for arm in excused
    ]
    quiet = [arm for arm in empty if arm not in excused]
    told += [f"{', '.join(quiet)} {none} yet"] if quiet else []
    return passed(f"{metric.name}: {'; '.join(told)}" if told else "")


def _are_worst(
    facts: ExperimentFacts, metric: Metric, missing: list[str], empty: list[str]
) -> bool:
    """Whether a 0, which is what the missing arms have, is worse than the value of all others."""
    counts = facts.whole_arms(metric.name)
    sign = 1 if metric.is_higher_better else -1
    others = [count for name, count in counts.items() if name not in empty and count.n]
    return all(counts[arm].n for arm in missing) and all(sign * each.mean > 0 for each in others)


def _excuse(facts: ExperimentFacts, metric: Metric, arm: str) -> str:
    """Why an arm without an event need not hold up the others; nothing where it must.

    A control is never switched off: all others are compared with it.
    """
    control = next((each.name for each in need(facts.variants) if each.is_control), None)
    if arm != control and facts.is_switched_off(arm):
        return "it is switched off"
    if not _speaks_against_winners(facts, metric, arm, control):
        return ""
    if _is_heard(facts, metric, arm):
        return "its units send other events"
    return "a bandit gives its traffic to others" if facts.is_bandit and arm != control else ""


def _speaks_against_winners(
    facts: ExperimentFacts, metric: Metric, arm: str, control: str | None
) -> bool:
    """Whether nothing looks better for it that the arm's value is 0, however that came."""
    counts = facts.whole_arms(metric.name)
    sign = 1 if metric.is_higher_better else -1
    if counts[arm].n == 0 or control not in counts:
        return False  # it has no value at all
    if arm == control:
        return all(sign * count.mean < 0 for name, count in counts.items() if name != arm)
    return sign * counts[control].mean > 0


def _is_heard(facts: ExperimentFacts, metric: Metric, arm: str) -> bool:
    """Whether the arm's units send an event of another metric much as the other arms' do.

    One that would not be missing by chance either; a person who tries things out is not enough.
    """
    for other in need(facts.metrics):
        counts = facts.whole_arms(other.name)
        if other.is_aggregated or other.event_type == metric.event_type or arm not in counts:
            continue
        rate = _rate(other, [counts[arm]])
        if _chance_of_none(other, counts, arm) < MISSING_ALPHA and rate >= HEARD_SHARE * _rate(
            other, _others(counts, arm)
        ):
            return True
    return False


def _chance_of_none(metric: Metric, counts: _Counts, arm: str) -> float:
    """The chance that none of the arm's units has an event, at the rate of the other arms."""
    rate = _rate(metric, _others(counts, arm))
    return max(1.0 - rate, 0.0) ** _measured(metric, counts[arm])


def _others(counts: _Counts, arm: str) -> list[Count]:
    return [count for name, count in counts.items() if name != arm]


def _rate(metric: Metric, counts: list[Count]) -> float:
    """The share of the units with an event."""
    units = sum(_measured(metric, count) for count in counts)
    return sum(count.converted for count in counts) / units if units else 0.0


def _measured(metric: Metric, count: Count) -> int:
    """Units that could have an event: where none counts as zero, those that have a value by now."""
    return count.n if metric.missing == "zero" else count.assigned - count.windows_open
