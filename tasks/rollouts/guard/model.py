"""What a guard is: a function from what was measured to a judgement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from tasks.errors import Reason
from tasks.rollouts.definition.policy import CheckPolicy, Operator
from tasks.rollouts.health.checks import Quantity
from tasks.rollouts.health.measured import Health, Judgement, Measured, Reading


@dataclass(frozen=True)
class Question:
    """One check to judge: its policy, its quantity, and the guard's terms.

    ``alpha`` is the chance of a false rollback that this check may spend in this stage,
    ``shared_alpha`` that of a false hold on account of the version and its control together.
    """

    policy: CheckPolicy
    quantity: Quantity
    alpha: float
    is_strict: bool = False
    shared_alpha: float = 0.1

    @property
    def operator(self) -> Operator:
        """The comparison that a healthy value passes."""
        return self.policy.operator or self.quantity.good

    @property
    def is_low_good(self) -> bool:
        """True if healthy values lie below the limit."""
        return self.operator in {"<", "<="}

    def passes(self, value: float) -> bool:
        """Tell whether a value is on the good side of the limit."""
        limit = self.policy.limit
        match self.operator:
            case "<":
                return value < limit
            case "<=":
                return value <= limit
            case ">":
                return value > limit
            case ">=":
                return value >= limit

    def is_possible(self, value: float) -> bool:
        """Tell whether the quantity can have that value: an accuracy of 60 is no share."""
        return self.quantity.lowest <= value <= self.quantity.highest


@dataclass(frozen=True)
class Findings:
    """What the counts or the means of a check show.

    ``harm`` says why the version is to blame, ``shared`` why it and its control are in trouble
    alike; None where there is no such evidence. ``is_healthy``: there is evidence of health.
    """

    harm: str | None
    shared: str | None
    is_healthy: bool
    evidence: dict[str, float]


LEAST_CONTROL_SHARE = 0.01


def has_a_say(control: int, canary: int) -> bool:
    """Tell whether a control can tell a version's trouble from everybody's.

    Stragglers cannot: after the step to 100 % some clients still report the old version.
    """
    return control >= LEAST_CONTROL_SHARE * (control + canary)


Guard: TypeAlias = Callable[[Reading, Question], Judgement]


def missing(measured: Measured, name: str) -> Reason | None:
    """Why what was measured cannot be judged as a whole; None if it can."""
    if measured.source_error is not None:
        return Reason("source-error", f"{name} could not be read: {measured.source_error}")
    if measured.broken_rows:
        return Reason("not-finite", f"{measured.broken_rows} {name} samples are not finite numbers")
    if measured.value is None and measured.given_value is None:
        return Reason("no-data", f"no {name} samples of this version in the window")
    return None


def inconclusive(guard: str, reason: Reason) -> Judgement:
    """Neither healthy nor unhealthy, and why."""
    return Judgement(guard=guard, health=Health.INCONCLUSIVE, reason=reason)
