"""What cannot be true of a version: a rate above 1, a latency below zero."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.rollouts.definition.policy import RolloutPolicy
from tasks.rollouts.health.checks import Quantity, health_checks
from tasks.rollouts.simulation.truth import Level, Truth


def impossible(truth: Truth, policy: RolloutPolicy) -> list[str]:
    """Say what of a truth cannot be, by the checks of the policy; nothing if it can.

    Raise UnknownName for a check that nobody registered.
    """
    quantities = {check.name: health_checks.get(check.check)() for check in policy.checks}
    return [
        said
        for level in truth.levels
        if level.check in quantities
        for said in _problems(level, quantities[level.check])
    ]


def _problems(level: Level, quantity: Quantity) -> Iterator[str]:
    since = f", from hour {level.from_hour:g}" if level.from_hour else ""
    for side, value in (("canary", level.canary), ("control", level.control)):
        if value is not None and not quantity.holds(value):
            yield f"{level.check} {quantity.bounds}, not {value:g} ({side}{since})" + (
                f"; {value:g} % is {value / 100:g}"
                if quantity.kind == "rate" and 1 < value <= 100
                else ""
            )
    widest = quantity.highest - quantity.lowest
    if abs(level.drift_per_hour) > widest:
        yield f"{level.check} drifts by {widest:g} an hour at most, not {level.drift_per_hour:g}"
    if quantity.kind == "rate" and level.deviation:
        yield f"{level.check} is a rate: it has no deviation of its own"
