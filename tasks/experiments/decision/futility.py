"""Is it worth going on? Not if even the best plausible difference is below the planned effect."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.experiments.decision.standing import Standing
from tasks.experiments.metrics import metrics


@dataclass(frozen=True, slots=True)
class Futility:
    """What the sequential intervals leave of the planned effect."""

    is_futile: bool = False
    minimum_effect: float | None = None  # relative to the control
    best: dict[str, float | None] | None = None  # of each arm, relative; the best plausible lift
    message: str = ""


def futility_of(found: Standing) -> Futility:
    """Compare the upper end of every arm's interval with the smallest effect that matters.

    It is said, and stops nothing by itself: an experiment may go on for its guardrails.
    """
    evidence = found.evidence
    effect = evidence.plan.minimum_effect
    base = metrics.get(evidence.primary.kind).value(evidence.primary.control.moments)
    if effect is None or not base or not found.is_usable or found.better or not evidence.open_arms:
        return Futility(minimum_effect=effect)
    best = {arm.name: _best(found, arm.name, abs(base)) for arm in evidence.open_arms}
    known = [value for value in best.values() if value is not None]
    if len(known) < len(best) or max(known) >= effect:
        return Futility(minimum_effect=effect, best=best)
    message = (
        f"The planned effect of {effect:.2%} is out of reach: even the best plausible lift is "
        f"{max(known):+.2%}."
    )
    return Futility(True, effect, best, message)


def _best(found: Standing, name: str, base: float) -> float | None:
    interval = found.interval(name)
    if interval is None:
        return None
    lower, upper = interval
    return (upper if found.evidence.primary.is_higher_better else -lower) / base
