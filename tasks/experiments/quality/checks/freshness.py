"""Do events still come?

How long may be silent: a day; longer, where its events usually take longer. That is one and a half
times the wait that is usual at this time of the day (`Arrival.usual_seconds`), and seven times the
mean time between events, which chance exceeds once in a thousand (exp -7).
"""

from __future__ import annotations

from datetime import UTC, datetime

from tasks.experiments.quality.facts import Arrival, ExperimentFacts, Metric, hours, need
from tasks.experiments.quality.model import Figure, QualityCheck
from tasks.experiments.quality.registry import failed, passed, quality_checks, unknown

SILENT_HOURS = 24.0
_USUAL_WAITS = 1.5
_MEAN_WAITS = 7.0


@quality_checks.register("freshness")
def freshness(facts: ExperimentFacts) -> QualityCheck:
    """Whether any event has come lately, for an experiment that is active."""
    if facts.status != "active":
        return passed(f"it is {facts.status}: no new data are expected")
    arrivals = need(facts.arrivals)
    newest = _newest(arrivals)
    if newest is None:
        return _nothing_yet(facts)
    silent = hours(facts.now - newest)
    allowed = min(_allowed_hours(facts, arrival) for arrival in arrivals if arrival.last_at)
    figures: dict[str, Figure] = {
        "silent_hours": round(silent, 2),
        "allowed_hours": round(allowed, 2),
    }
    if silent <= allowed:
        return passed(**figures)
    since = f"{newest.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    message = (
        f"no event has come for {silent:.0f} h (since {since}); "
        f"{allowed:.0f} h are usual at most. See whether the ingestion runs and the application "
        "still sends events, or pause the experiment"
    )
    return failed(message, **figures)


@quality_checks.register("metric-freshness")
def metric_freshness(facts: ExperimentFacts) -> QualityCheck:
    """Whether the events of each deciding metric keep up with the experiment's other events."""
    if facts.status != "active":
        return passed(f"it is {facts.status}: no new data are expected")
    arrivals = need(facts.arrivals)
    newest = _newest(arrivals)
    if newest is None:
        return unknown("no event has come yet, so none can lag behind another")
    late = []
    for metric in need(facts.metrics):
        for arrival in arrivals:
            if arrival.event_type != metric.event_type or metric.role == "secondary":
                continue
            if arrival.last_at is None:
                continue  # that is for the check of missing metrics
            lag = hours(newest - arrival.last_at)
            if lag > _allowed_hours(facts, arrival):
                late.append((lag, metric.name, arrival.event_type))
    return _judge_lag(late)


def _judge_lag(late: list[tuple[float, str, str]]) -> QualityCheck:
    if not late:
        return passed()
    lag, metric, event_type = max(late)
    message = (
        f"metric {metric!r}: its events ({event_type}) stopped {lag:.0f} h before the newest other "
        "events. Its values are of the past; see whether the application still sends them"
    )
    return failed(message, lag_hours=round(lag, 2), late_metrics=len({name for _, name, _ in late}))


def _newest(arrivals: tuple[Arrival, ...]) -> datetime | None:
    return max((arrival.last_at for arrival in arrivals if arrival.last_at), default=None)


def _nothing_yet(facts: ExperimentFacts) -> QualityCheck:
    if facts.age_hours is None:
        return unknown("it is active but has no start, so its data cannot be late")
    if facts.age_hours <= SILENT_HOURS:
        return unknown(f"no event has come yet; it was started {facts.age_hours:.1f} h ago")
    message = (
        f"no event has come since it was started {facts.age_hours:.0f} h ago. See whether the "
        "application assigns units and sends events of the metrics' types"
    )
    return failed(message, silent_hours=round(facts.age_hours, 2))


def _allowed_hours(facts: ExperimentFacts, arrival: Arrival) -> float:
    usual = _USUAL_WAITS * (arrival.usual_seconds or 0.0) / 3600
    return max(SILENT_HOURS, usual, _MEAN_WAITS * _mean_wait_hours(facts, arrival))


def _mean_wait_hours(facts: ExperimentFacts, arrival: Arrival) -> float:
    """Mean hours between events of a type until the last one; 0 where it cannot be told."""
    if facts.started_at is None or arrival.last_at is None:
        return 0.0
    events = max((_events(facts, m) for m in _measuring(facts, arrival)), default=0)
    if events < 2:
        return 0.0
    return max(hours(arrival.last_at - facts.started_at), 0.0) / events


def _measuring(facts: ExperimentFacts, arrival: Arrival) -> list[Metric]:
    return [metric for metric in need(facts.metrics) if metric.event_type == arrival.event_type]


def _events(facts: ExperimentFacts, metric: Metric) -> int:
    return sum(count.events for count in facts.whole_arms(metric.name).values())
