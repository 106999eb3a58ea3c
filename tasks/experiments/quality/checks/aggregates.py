"""Can figures that somebody else aggregated be compared?"""

from __future__ import annotations

from datetime import UTC, datetime

from tasks.experiments.quality.checks.freshness import SILENT_HOURS
from tasks.experiments.quality.facts import Aggregate, ExperimentFacts, hours, need
from tasks.experiments.quality.model import QualityCheck
from tasks.experiments.quality.registry import failed, passed, quality_checks


@quality_checks.register("aggregates")
def aggregates(facts: ExperimentFacts) -> QualityCheck:
    """Whether they stand alone, and all arms and metrics are known up to the same moment."""
    told = need(facts.aggregates)
    mixed = [each for each in told if each.own_units]
    if mixed:
        return _mixed(mixed)
    checks = [*map(_judge_moments, told), *_judge_metrics(told)]
    broken = [check.message for check in checks if check.outcome == "failed"]
    if broken:
        return failed("; ".join(broken), metrics=len(broken))
    return passed("; ".join(check.message for check in checks if check.message))


def _mixed(told: list[Aggregate]) -> QualityCheck:
    names = ", ".join(each.metric for each in told)
    return failed(
        f"others aggregated {names}, and the experiment has {told[0].own_units} units of its own: "
        "those alone count. Start another experiment for one of the two",
        own_units=told[0].own_units,
    )


def _judge_moments(told: Aggregate) -> QualityCheck:
    newest = max(at for at in told.known_to if at)
    late = [arm for arm, at in zip(told.arms, told.known_to, strict=True) if at != newest]
    if told.compared_at is None:
        message = (
            f"{told.metric}: there is no moment that all arms have ({_moments(told)}). "
            "Load the figures of all arms up to the same moment"
        )
    elif told.compared_at < newest:
        behind = ", ".join(late) or "the other arms"
        message = (
            f"{told.metric} is compared as of {_shown(told.compared_at)}: nothing newer than "
            f"{_shown(_oldest(told))} is known of {behind}"
        )
    else:
        return passed()
    is_late = told.compared_at is None or hours(newest - told.compared_at) > SILENT_HOURS
    return failed(message) if is_late and told.role != "secondary" else passed(message)


def _judge_metrics(told: tuple[Aggregate, ...]) -> list[QualityCheck]:
    """The metrics that decide, and are older than another of them by more than may be silent."""
    known = [(each.compared_at, each.metric) for each in told if each.role != "secondary"]
    moments = sorted((at, metric) for at, metric in known if at)
    return [
        failed(
            f"{metric} is known up to {_shown(at)}, {moments[-1][1]} up to "
            f"{_shown(moments[-1][0])}. Load the figures of all metrics up to the same moment"
        )
        for at, metric in moments
        if hours(moments[-1][0] - at) > SILENT_HOURS
    ]


def _oldest(told: Aggregate) -> datetime:
    return min(at for at in told.known_to if at)


def _moments(told: Aggregate) -> str:
    pairs = zip(told.arms, told.known_to, strict=True)
    return ", ".join(f"{arm}: {_shown(at) if at else 'none'}" for arm, at in pairs)


def _shown(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
