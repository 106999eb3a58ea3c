"""The health checks by name: each says what kind of quantity it judges, and which side is good.

A health check is one registered function:

    @health_checks.register("queue_depth")
    def queue_depth() -> Quantity:
        '''Mean number of requests that wait.'''
        return Quantity("mean", good="<", lowest=0.0)

Its name is the metric that its source is asked for, unless the policy names another one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Literal, TypeAlias

from tasks.registry import Registry
from tasks.rollouts.definition.policy import Operator


@dataclass(frozen=True)
class Quantity:
    """What a check judges.

    A ``rate`` counts: the sum of noughts and ones over their number. A ``mean`` averages any
    numbers. A ``value`` is judged as it is given: a percentile, say, which cannot be averaged.
    Numbers outside ``lowest`` to ``highest`` cannot be, and are never healthy.
    """

    kind: Literal["rate", "mean", "value"]
    good: Operator
    lowest: float = -inf
    highest: float = inf

    def holds(self, value: float) -> bool:
        """Tell whether the value is one that can be."""
        return self.lowest <= value <= self.highest

    @property
    def bounds(self) -> str:
        """Which values can be, in words that follow the quantity's name."""
        if self.highest == inf:
            return f"is at least {self.lowest:g}"
        if self.lowest == -inf:
            return f"is at most {self.highest:g}"
        return f"lies between {self.lowest:g} and {self.highest:g}"


HealthCheck: TypeAlias = Callable[[], Quantity]
health_checks: Registry[HealthCheck] = Registry("health check", "headway.health_checks")


@health_checks.register("error_rate")
def error_rate() -> Quantity:
    """Share of requests that failed: the sum counts errors, the count requests."""
    return Quantity("rate", good="<", lowest=0.0, highest=1.0)


@health_checks.register("latency")
def latency() -> Quantity:
    """Mean latency in milliseconds: the sum adds them up, the count counts requests."""
    return Quantity("mean", good="<", lowest=0.0)


@health_checks.register("latency_percentile")
def latency_percentile() -> Quantity:
    """A percentile of latency in milliseconds, as the source computes it."""
    return Quantity("value", good="<", lowest=0.0)


@health_checks.register("accuracy")
def accuracy() -> Quantity:
    """Share of right answers: the sum counts right ones, the count answers."""
    return Quantity("rate", good=">", lowest=0.0, highest=1.0)


@health_checks.register("custom")
def custom() -> Quantity:
    """Any mean; the policy names its metric and, with its operator, which side is good."""
    return Quantity("mean", good="<")
