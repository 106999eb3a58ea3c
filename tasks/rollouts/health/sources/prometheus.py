"""Prometheus, or what speaks its query API (https://prometheus.io/docs/prometheus/latest/querying/api/)."""

from __future__ import annotations

import json
import re
from math import nan
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from pydantic import Field, model_validator

from tasks.rollouts.health.measured import Measured
from tasks.rollouts.health.sources import figures
from tasks.rollouts.health.sources.asking import PLACES, Endpoint, ask, places_of
from tasks.rollouts.health.sources.http import parsed
from tasks.rollouts.health.sources.model import Inquiry, Secrets, SourceTrouble, health_source
from tasks.web.addresses import without_query

Query = Annotated[str, Field(min_length=1)]
_PLACE = re.compile(rf"\{{({'|'.join(PLACES)})\}}")
_UNQUOTABLE = re.compile(r"['`\x00-\x1f\x7f]")


class PrometheusConfig(Endpoint):
    """What is asked: PromQL that comes to one series, with the places that every source knows.

    In a query write ``{model_version}`` inside double quotes; ``[{window_seconds}s]`` is the
    window, and a query is evaluated at its end. ``query`` gives the value, and ``count_query``,
    where there is one, on how many observations; with ``is_sum`` the first is a sum over the
    second, and is judged by both. With ``step_seconds`` the query is asked over the range, and
    ``reduce`` says what is made of its points.
    """

    query: Query
    count_query: Query | None = None
    is_sum: bool = False
    step_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    reduce: Literal["mean", "max", "min", "last"] = "mean"

    @model_validator(mode="after")
    def _sums_are_counted(self) -> PrometheusConfig:
        if self.is_sum and self.count_query is None:
            raise ValueError("a sum needs its count_query")
        if self.is_sum and self.step_seconds is not None:
            raise ValueError("a sum is asked at once; leave step_seconds out")
        return self


@health_source("prometheus", PrometheusConfig)
def read_prometheus(config: PrometheusConfig, inquiry: Inquiry, secrets: Secrets) -> Measured:
    """The value of the series at the window's end, or over the range; without one no data."""
    value = _value(config, config.query, inquiry, secrets, config.step_seconds)
    if config.count_query is None:
        return figures.given(value)
    count = _counted(_value(config, config.count_query, inquiry, secrets, None))
    return (
        figures.summed(value, count)
        if config.is_sum
        else figures.given(value, count, is_counted=True)
    )


def _value(
    config: PrometheusConfig,
    query: str,
    inquiry: Inquiry,
    secrets: Secrets,
    step_seconds: float | None,
) -> float | None:
    told: dict[str, str] = {"query": promql(query, inquiry), "timeout": _timeout(config)}
    if step_seconds is None:
        told["time"] = f"{inquiry.window_end.timestamp():.3f}"
    else:
        told["start"] = f"{inquiry.window_start.timestamp():.3f}"
        told["end"] = f"{inquiry.window_end.timestamp():.3f}"
        told["step"] = f"{step_seconds:g}"
    path = "query" if step_seconds is None else "query_range"
    url = f"{config.url.rstrip('/')}/api/v1/{path}?{urlencode(told)}"
    answer = parsed(ask(config, url, secrets), without_query(url))
    return reduced(_points(answer), config.reduce)


def _timeout(config: PrometheusConfig) -> str:
    return f"{round(config.timeout_seconds * 1000)}ms"


def promql(query: str, inquiry: Inquiry) -> str:
    """The query with its places filled: what is put in stays inside its double quotes.

    SourceTrouble for a version that cannot be quoted in every kind of quotes.
    """
    places = places_of(inquiry)
    if any(_UNQUOTABLE.search(places[name]) for name in ("model_version", "metric")):
        raise SourceTrouble("a version or metric with quotes or control characters is not asked")
    quoted = {name: json.dumps(text, ensure_ascii=False)[1:-1] for name, text in places.items()}
    return _PLACE.sub(lambda found: quoted[found[1]], query)


def _points(answer: Any) -> list[float]:
    """The points of the one series; none where there is no series.

    SourceTrouble for several series, and for an answer that says it is not whole.
    """
    if not isinstance(answer, dict) or answer.get("status") != "success":
        kind = answer.get("errorType") if isinstance(answer, dict) else None
        raise SourceTrouble(f"Prometheus could not answer ({kind or 'no reason given'})")
    if answer.get("warnings"):
        raise SourceTrouble("Prometheus warns that its answer may not be whole")
    try:
        return _numbers(answer["data"]["resultType"], answer["data"]["result"])
    except (KeyError, TypeError, IndexError, ValueError):
        raise SourceTrouble("what answered does not speak Prometheus") from None


def _numbers(kind: str, result: Any) -> list[float]:
    if kind in {"scalar", "string"}:
        return [_number(result[1])]
    if kind not in {"vector", "matrix"}:
        raise ValueError(kind)
    if len(result) > 1:
        raise SourceTrouble(f"the query gives {len(result)} series; aggregate them to one")
    if not result:
        return []
    points = [result[0]["value"]] if kind == "vector" else result[0]["values"]
    return [_number(text) for _, text in points]


def _number(text: Any) -> float:
    """Prometheus writes numbers as text; what is none is kept as one that nobody takes for one."""
    try:
        return float(text) if isinstance(text, str) else nan
    except ValueError:
        return nan


def reduced(points: list[float], how: str) -> float | None:
    """One number for all points; None without any, NaN where one of them is."""
    if not points:
        return None
    if any(point != point for point in points):
        return nan
    match how:
        case "max":
            return max(points)
        case "min":
            return min(points)
        case "last":
            return points[-1]
        case _:
            return sum(points) / len(points)


def _counted(count: float | None) -> float | None:
    # increase() extrapolates to the edges of its window, so that counts come with a fraction.
    return count if count is None or figures.finite(count) is None else float(round(count))
