"""The test over all looks: group-sequential bounds, and Holm's step-down over the arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.experiments.statistics.multiplicity import holm
from tasks.experiments.statistics.sequential import (
    Bound,
    group_sequential_bounds,
    has_crossed,
    sequential_p_value,
)


@dataclass(frozen=True, slots=True)
class ArmTest:
    """How one arm stands after this look."""

    level: float  # alpha / arms that were still open when this arm was judged
    bound: Bound | None  # of the latest look, at that level; None before any
    crossed_at: int | None  # index of the first look that crossed
    is_above: bool | None  # the sign of z at that look
    p_value: float  # adjusted for every look so far and, by Holm, for the arms


def judge_arms(
    fractions: Sequence[float], deviates: Mapping[str, Sequence[float | None]], alpha: float
) -> dict[str, ArmTest]:
    """Test each arm's z over the looks so far, holding the error of all arms together at alpha.

    An arm is significant if |z| reached its bound at any look, at level alpha / k, where k arms
    were still open; each one found lowers k for the others. Source: Ye, Li, Liu and Yao (2013),
    the group-sequential Holm procedure.
    """
    p_values = holm([sequential_p_value(fractions, z) for z in deviates.values()])
    adjusted = dict(zip(deviates, p_values, strict=True))
    judged: dict[str, ArmTest] = {}
    open_arms = list(deviates)
    while open_arms:
        level = alpha / len(open_arms)
        bounds = group_sequential_bounds(fractions, level)
        crossings = {name: has_crossed(bounds, deviates[name]) for name in open_arms}
        found = [name for name, index in crossings.items() if index is not None]
        for name in found or open_arms:
            index = crossings[name]
            is_above = None if index is None else (deviates[name][index] or 0.0) > 0
            latest = bounds[-1] if bounds else None
            judged[name] = ArmTest(level, latest, index, is_above, adjusted[name])
        open_arms = [name for name in open_arms if name not in judged]
    return {name: judged[name] for name in deviates}
