"""Made-up traffic for the demo and the tests, labelled as such: ``source = 'simulator'``."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks import clock
from tasks.rollouts.health.samples import QUERIES

SOURCE = "simulator"
_LATENCY_SPREAD = 0.4  # standard deviation of one request, as a share of the mean


class Traffic(BaseModel):
    """How a version truly behaves, and how much of it is seen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests: int = 5_000
    error_rate: float = 0.01
    latency_ms: float = 120.0
    accuracy: float = 0.9


def simulate_traffic(
    tx: Connection,
    model_version: str,
    traffic: Traffic,
    *,
    seed: int,
    minutes: float = 60.0,
    batches: int = 6,
) -> None:
    """Record health samples as if ``traffic`` had been served during the last ``minutes``.

    Errors and right answers are binomial draws, latency a normal mean with its squares; the
    same seed draws the same. The end of the interval is the database's clock.
    """
    random, spreads = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    now = clock.now(tx)
    sizes = [len(part) for part in np.array_split(np.arange(traffic.requests), batches)]
    for index, size in enumerate(sizes):
        observed_at = now - timedelta(minutes=minutes * (index + 0.5) / batches)
        _record_batch(tx, model_version, traffic, size, observed_at, random, spreads)


def _record_batch(
    tx: Connection,
    model_version: str,
    traffic: Traffic,
    size: int,
    observed_at: datetime,
    random: np.random.Generator,
    spreads: np.random.Generator,
) -> None:
    spread = traffic.latency_ms * _LATENCY_SPREAD * np.sqrt(size)
    sums = {
        "error_rate": float(random.binomial(size, traffic.error_rate)),
        "latency": max(float(random.normal(traffic.latency_ms * size, spread)), 0.0),
        "accuracy": float(random.binomial(size, traffic.accuracy)),
    }
    # Of normal values the sum and the squared deviations are independent (Cochran).
    deviation = (traffic.latency_ms * _LATENCY_SPREAD) ** 2 * spreads.chisquare(max(size - 1, 1))
    squares = {"latency": sums["latency"] ** 2 / max(size, 1) + deviation}
    for metric, value_sum in sums.items():
        tx.execute(
            QUERIES["record_sample"],
            {
                "model_version": model_version,
                "metric": metric,
                "value_sum": value_sum,
                "sample_count": size,
                "observed_at": observed_at,
                "source": SOURCE,
                "square_sum": squares.get(metric),
            },
        )
