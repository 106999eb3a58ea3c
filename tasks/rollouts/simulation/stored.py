"""What was stored of a version, as a rollout that is simulated would have seen it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from math import sqrt

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import NotFound
from tasks.rollouts.definition.policy import CheckPolicy, RolloutPolicy
from tasks.rollouts.health.checks import health_checks
from tasks.rollouts.simulation.sums import Seen, Sums
from tasks.rollouts.simulation.truth import Level, Truth

QUERIES = load_queries(__package__, "stored.sql")


@dataclass(frozen=True)
class Stored:
    """Everything recorded of a version and its control, by check and tick from the first sample.

    It was seen at the percentages of its time; another schedule sees the same numbers.
    """

    model_version: str
    control_version: str | None
    first_at: datetime
    tick_hours: float
    ticks: int
    seen: dict[str, dict[int, Seen]]

    @property
    def hours(self) -> float:
        """Hours from the first sample to the end of the last tick that has one."""
        return self.ticks * self.tick_hours

    def feed(self, tick: int, _percentage: float) -> Mapping[str, Seen]:
        """What the hours before a tick showed."""
        return {check: seen.get(tick, self._nothing) for check, seen in self.seen.items()}

    def truth(self, policy: RolloutPolicy, requests_per_hour: float | None = None) -> Truth:
        """As if all that was stored had been true all the time: its means, and its traffic."""
        levels, busiest = [], 0
        for check in policy.checks:
            whole = reduce(_together, self.seen.get(check.name, {}).values(), self._nothing)
            level = _level(check, whole)
            if level is not None:
                levels.append(level)
                control = whole.control.samples if whole.control else 0
                busiest = max(busiest, whole.canary.samples + control)
        rate = requests_per_hour or max(busiest / self.hours, 1.0)
        has_control = self.control_version is not None
        return Truth(levels=tuple(levels), requests_per_hour=rate, has_control=has_control)

    @property
    def _nothing(self) -> Seen:
        return Seen(Sums(), None if self.control_version is None else Sums())


def read_stored(
    connection: Connection,
    policy: RolloutPolicy,
    model_version: str,
    control_version: str | None,
    tick_hours: float,
) -> Stored:
    """Read the samples of the policy's checks; NotFound if the version has none."""
    metrics = [check.name for check in policy.checks]
    asked = {"model_version": model_version, "metrics": metrics}
    span = connection.execute(QUERIES["stored_span"], asked).one()
    if span.first_at is None:
        raise NotFound(
            f"no {' and no '.join(metrics)} samples of {model_version!r} are stored; record some, "
            "or state what is true"
        )
    given = {"control_version": control_version, "first_at": span.first_at}
    rows = connection.execute(
        QUERIES["stored_sums"], asked | given | {"tick_seconds": tick_hours * 3600}
    ).mappings()
    sides: dict[tuple[str, int], dict[bool, Sums]] = {}
    for row in rows:
        sums = Sums(**{name: row[name] for name in Sums._fields})
        sides.setdefault((row["metric"], row["tick"]), {})[row["is_canary"]] = sums
    seen: dict[str, dict[int, Seen]] = {}
    for (metric, tick), side in sides.items():
        control = None if control_version is None else side.get(False, Sums())
        seen.setdefault(metric, {})[tick] = Seen(side.get(True, Sums()), control)
    ticks = max(tick for _, tick in sides)
    return Stored(model_version, control_version, span.first_at, tick_hours, ticks, seen)


def _together(one: Seen, other: Seen) -> Seen:
    control = None if one.control is None else one.control.plus(other.control or Sums())
    return Seen(one.canary.plus(other.canary), control)


def _level(check: CheckPolicy, whole: Seen) -> Level | None:
    canary = _mean(whole.canary)
    if canary is None:
        return None
    control = None if whole.control is None else _mean(whole.control)
    is_mean = health_checks.get(check.check)().kind == "mean"
    deviation = _deviation(whole.canary) if is_mean else 0.0
    return Level(check=check.name, canary=canary, control=control, deviation=deviation)


def _mean(sums: Sums) -> float | None:
    if sums.samples:
        return sums.total / sums.samples
    return sums.given_total / sums.given_rows if sums.given_rows else None


def _deviation(sums: Sums) -> float | None:
    """None where squares are missing."""
    if sums.samples < 2 or sums.without_squares:
        return None
    m2 = sums.squares - sums.total * (sums.total / sums.samples)
    return sqrt(max(m2, 0.0) / (sums.samples - 1))
