"""What following the figures has cost, against sharing the traffic equally. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum
from typing import NamedTuple

from tasks.experiments.bandits.evidence import AllocationEvidence, BanditArm


class Regret(NamedTuple):
    """In units of the metric's sum: conversions that the best arm would have had more."""

    followed: float  # by the split as it was
    uniform: float  # had the arms that were open shared each epoch's units equally


def regret(
    values: Mapping[str, float],
    units: Mapping[str, float],
    uniform_units: Mapping[str, float],
    *,
    is_higher_better: bool,
) -> Regret:
    """Estimate the regret: units × (best value − the arm's value), summed over the arms.

    Args:
        values: of each arm, as known at some moment.
        units: that each arm had until then, over all epochs.
        uniform_units: that it would have got had the open arms of each epoch shared equally.
        is_higher_better: which value is the best.
    """
    sign = 1.0 if is_higher_better else -1.0
    best = max(sign * value for value in values.values())
    gaps = {name: best - sign * value for name, value in values.items()}
    return Regret(
        followed=fsum(units.get(name, 0.0) * gap for name, gap in gaps.items()),
        uniform=fsum(uniform_units.get(name, 0.0) * gap for name, gap in gaps.items()),
    )


def values_of(evidence: AllocationEvidence) -> dict[str, float]:
    """The posterior mean of every arm with a unit, switched off or not."""
    return {arm.name: _value(arm, is_rate=evidence.is_rate) for arm in evidence.arms if arm.n}


def _value(arm: BanditArm, *, is_rate: bool) -> float:
    return (arm.conversions + 1) / (arm.sure_n + 2) if is_rate else arm.mean
