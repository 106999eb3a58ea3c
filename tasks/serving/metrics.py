"""`GET /metrics` for Prometheus: what was asked, how long it took, where the rollouts stand."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from tasks.serving.admission import Reader
from tasks.serving.flags import Flag
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
        self._evaluations = Counter(
            "headway_evaluations",
            "Answers by flag, variant and reason.",
            ("flag", "variant", "reason"),
            registry=self.registry,
        )
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

    def count_evaluation(self, flag: Flag) -> None:
        """Count one answer, under the flag's own name."""
        name = str(
            flag.metadata.get("modelVersion" if "rollout" in flag.metadata else "experiment")
        )
        self._evaluations.labels(name, flag.variant, flag.reason.value).inc()

    def count_event(self, *, is_new: bool) -> None:
        """Count one event."""
        self._events.labels("recorded" if is_new else "known").inc()

    def count_samples(self, recorded: int) -> None:
        """Count the samples of one request."""
        self._samples.inc(recorded)


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
    """Counters of this process, and where the rollouts stand; scrape it with a key as bearer."""
    state = request.app.state
    counted = generate_latest(state.metrics.registry)
    standing = generate_latest(_only(_Rollouts(state.engine, caller.organization)))
    return Response(counted + standing, media_type=_TYPE)


def _only(collector: Collector) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return registry
