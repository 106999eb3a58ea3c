"""`GET /metrics` for Prometheus: what was asked, how long it took, where the rollouts stand."""

from __future__ import annotations

from collections import Counter as Counting
from collections.abc import Iterator
from threading import Lock

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from tasks.serving.admission import Reader
from tasks.serving.flags import Answered
from tasks.serving.health import QUERIES
from tasks.serving.wire import errors

router = APIRouter(tags=["Health"])
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The counters of one server. Labels are routes, statuses and flags that exist, never users."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "headway_requests",
            "Requests by route, method and status.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "headway_request_seconds",
            "How long requests took.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._evaluations: Counting[tuple[str | None, tuple[str, str, str]]] = Counting()
        self._lock = Lock()
        self._events = Counter(
            "headway_events",
            "Events of experiments by outcome.",
            ("outcome",),
            registry=self.registry,
        )
        self._samples = Counter(
            "headway_samples", "Health samples recorded.", registry=self.registry
        )

    def count_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one request of a route that exists."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def count_evaluation(self, answered: Answered) -> None:
        """Count one answer, under the flag's own name."""
        flag, owner = answered
        name = str(
            flag.metadata.get("modelVersion" if "rollout" in flag.metadata else "experiment")
        )
        with self._lock:
            self._evaluations[owner, (name, flag.variant, flag.reason.value)] += 1

    def evaluations(self, organization: str | None) -> dict[tuple[str, str, str], int]:
        """The answers by flag, variant and reason; of an organization its own and nobody's."""
        with self._lock:
            counted = list(self._evaluations.items())
        seen: Counting[tuple[str, str, str]] = Counting()
        for (owner, labels), count in counted:
            if organization is None or owner in {None, organization}:
                seen[labels] += count
        return seen

    def count_event(self, *, is_new: bool) -> None:
        """Count one event."""
        self._events.labels("recorded" if is_new else "known").inc()

    def count_samples(self, recorded: int) -> None:
        """Count the samples of one request."""
        self._samples.inc(recorded)


class _Evaluations(Collector):
    """What was asked of the flags that the organization may see."""

    def __init__(self, metrics: Metrics, organization: str | None) -> None:
        self._metrics, self._organization = metrics, organization

    def collect(self) -> Iterator[Metric]:
        """One counter by flag, variant and reason."""
        labels = ("flag", "variant", "reason")
        family = CounterMetricFamily(
            "headway_evaluations", "Answers by flag, variant and reason.", labels=labels
        )
        for named, count in self._metrics.evaluations(self._organization).items():
            family.add_metric(named, count)
        return iter((family,))


class _Rollouts(Collector):
    """Where the rollouts stand, read as Prometheus asks."""

    def __init__(self, engine: Engine, organization: str | None) -> None:
        self._engine, self._organization = engine, organization

    def collect(self) -> Iterator[Metric]:
        """Percentage and age of the last tick; database_up is 0 where they cannot be read."""
        up = GaugeMetricFamily("headway_database_up", "1 while the control database answers.")
        labels = ("rollout", "version", "state")
        share = GaugeMetricFamily("headway_rollout_percentage", "Users in percent.", labels=labels)
        age = GaugeMetricFamily(
            "headway_rollout_tick_age_seconds", "Time since the last tick.", labels=labels
        )
        try:
            with self._engine.connect() as connection:
                asked = {"organization": self._organization}
                rows = connection.execute(QUERIES["rollout_gauges"], asked).all()
        except SQLAlchemyError:
            up.add_metric((), 0)
            return iter((up,))
        up.add_metric((), 1)
        for row in rows:
            named = (row.name, row.model_version, row.state)
            share.add_metric(named, row.percentage)
            if row.tick_age_seconds is not None:
                age.add_metric(named, float(row.tick_age_seconds))
        return iter((up, share, age))


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses=errors(),
    summary="Metrics for Prometheus",
)
def metrics(request: Request, caller: Reader) -> Response:
    """Counters of this process, and where the rollouts stand; scrape it with a key as bearer.

    A key that is limited to an organization sees flags and rollouts of its own and of nobody.
    """
    state = request.app.state
    counted = generate_latest(state.metrics.registry)
    evaluated = _Evaluations(state.metrics, caller.organization)
    standing = _Rollouts(state.engine, caller.organization)
    own = b"".join(generate_latest(_only(each)) for each in (evaluated, standing))
    return Response(counted + own, media_type=_TYPE)


def _only(collector: Collector) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return registry
