"""Metrics beside the primary one: is it safe, is it better, could it be told?

Each is compared by an interval that may be read at this look, as the acting method has it. A
guardrail is safe only if even the worst plausible difference is within its margin. One that cannot
be told is not safe, and neither is one that could not be worked out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from scipy import special

from tasks.errors import UnknownName
from tasks.experiments.decision.comparing import compare_arm
from tasks.experiments.decision.evidence import Arm, Measured
from tasks.experiments.metrics import MetricKind, metrics
from tasks.experiments.statistics.comparison import Comparison
from tasks.experiments.statistics.lift import UNKNOWN, Lift

Reach = Callable[[float, int], float | None]
_LEAST_ALPHA = 1e-300


@dataclass(frozen=True, slots=True)
class Beside:
    """One arm by a metric beside the primary one; the interval holds at this look."""

    metric: str
    found: Comparison = field(default_factory=Comparison)  # at the metric's alpha, this look alone
    lift: Lift = UNKNOWN
    lower: float | None = None
    upper: float | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Guarded(Beside):
    """One arm by one guardrail."""

    outcome: Literal["safe", "failed", "indeterminate", "unknown"] = "unknown"
    margin: float | None = None  # the difference that is still tolerated, in units of the metric

    @property
    def is_safe(self) -> bool:
        """Whether the arm is shown to be at most the margin worse."""
        return self.outcome == "safe"


def judge_guardrails(
    guardrails: Sequence[Measured], name: str, reach: Reach
) -> tuple[Guarded, ...]:
    """Judge one arm by every guardrail; its alpha is the chance to pass a worse arm."""
    return tuple(_judge(each, name, reach) for each in guardrails)


def look_beside(metric: Measured, name: str, reach: Reach, error: float) -> Beside:
    """Compare one arm with the control by one metric; ``error`` is that of both sides together."""
    if metric.problem:
        return Beside(metric.name, problem=metric.problem)
    try:
        return _compared(metric, metric.arm(name), reach, error)
    except (UnknownName, ArithmeticError, ValueError) as failure:
        return Beside(metric.name, problem=f"{type(failure).__name__}: {failure}")


def _compared(metric: Measured, arm: Arm, reach: Reach, error: float) -> Beside:
    compared = compare_arm(metric, arm, metric.alpha)
    half = reach(min(error, 0.99), arm.n + metric.control.n)
    if half is None:
        return Beside(metric.name, compared.found, compared.lift)
    level = max(2 * float(special.ndtr(-half)), _LEAST_ALPHA)
    wide = compare_arm(metric, arm, level).test
    return Beside(metric.name, compared.found, compared.lift, wide.lower, wide.upper)


def _judge(metric: Measured, name: str, reach: Reach) -> Guarded:
    seen = look_beside(metric, name, reach, 2 * metric.alpha)
    if seen.problem:
        return Guarded(metric.name, problem=seen.problem)
    margin = _margin(metric, metrics.get(metric.kind))
    outcome = _outcome(metric, seen, margin)
    return Guarded(metric.name, seen.found, seen.lift, seen.lower, seen.upper, "", outcome, margin)


def _margin(metric: Measured, kind: MetricKind) -> float | None:
    value = kind.value(metric.control.moments)
    return None if value is None else (metric.margin or 0.0) * abs(value)


def _outcome(
    metric: Measured, seen: Beside, margin: float | None
) -> Literal["safe", "failed", "indeterminate"]:
    if seen.lower is None or seen.upper is None or margin is None:
        return "indeterminate"
    worst, best = (
        (seen.lower, seen.upper) if metric.is_higher_better else (-seen.upper, -seen.lower)
    )
    if worst > -margin:
        return "safe"
    return "failed" if best < -margin else "indeterminate"
