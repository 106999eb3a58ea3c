"""Draws what a rollout would see if a truth were true."""

from __future__ import annotations

from collections.abc import Mapping
from math import log, log1p, sqrt
from typing import TYPE_CHECKING

from tasks.rollouts.definition.policy import RolloutPolicy
from tasks.rollouts.health.checks import Quantity, health_checks
from tasks.rollouts.simulation.sums import Feed, Seen, Sums
from tasks.rollouts.simulation.truth import Level, Truth

if TYPE_CHECKING:
    from numpy.random import Generator

_MOST_DRAWN = 5_000


def drawn(truth: Truth, policy: RolloutPolicy, tick_hours: float, rng: Generator) -> Feed:
    """What every tick sees: Poisson requests, each the version's with its percentage as chance.

    Of a rate single answers are drawn; of a mean log-normal values (latency is skewed), normal ones
    where it is not positive or there are more than 5,000 in a tick; a value is given as it is, with
    the deviation as noise. Raise UnknownName for a check that nobody registered.
    """
    checks = [(check, health_checks.get(check.check)()) for check in policy.checks]

    def see(tick: int, percentage: float) -> Mapping[str, Seen]:
        requests = int(rng.poisson(truth.requests_per_hour * tick_hours))
        canary = int(rng.binomial(requests, percentage / 100))
        hour = (tick - 0.5) * tick_hours
        found = {}
        for check, quantity in checks:
            level = truth.level(check.name, hour)
            if level is not None:
                found[check.name] = _see(truth, level, quantity, hour, (canary, requests), rng)
        return found

    return see


def _see(
    truth: Truth,
    level: Level,
    quantity: Quantity,
    hour: float,
    requests: tuple[int, int],
    rng: Generator,
) -> Seen:
    canary, both = requests
    of_canary = _draw(level.canary_at(hour), canary, level, quantity, rng)
    if not truth.has_control:
        return Seen(of_canary)
    return Seen(of_canary, _draw(level.of_control, both - canary, level, quantity, rng))


def _draw(mean: float, count: int, level: Level, quantity: Quantity, rng: Generator) -> Sums:
    if count == 0:
        return Sums()
    mean = min(max(mean, quantity.lowest), quantity.highest)  # drifting ends there
    if quantity.kind == "rate":
        total = float(rng.binomial(count, min(max(mean, 0.0), 1.0)))
        return Sums(total=total, squares=total, samples=count)
    deviation = level.deviation_at(mean)
    if quantity.kind == "value":
        return Sums(given_total=mean + deviation * float(rng.standard_normal()), given_rows=1)
    if mean > 0 and count <= _MOST_DRAWN:
        spread = log1p((deviation / mean) ** 2)
        values = rng.lognormal(log(mean) - spread / 2, sqrt(spread), count)
        return Sums(float(values.sum()), float(values @ values), count)
    total = float(rng.normal(mean * count, deviation * sqrt(count)))
    m2 = deviation**2 * float(rng.chisquare(count - 1)) if count > 1 else 0.0
    return Sums(total, m2 + total * total / count, count)
