"""Levels whose arms are compared within the epochs of a split that moved, as the arms themselves.

A level's units came, like everybody, in another mood and another split early and late: pooled over
epochs its arms differ by the mood alone, and differently from level to level. The effect that is
reported weighs epochs by the traffic of the level, which is unbiased; tests, of one level and of
all of them together, weigh them as `strata` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add

from tasks.experiments.decision.comparing import Compared, compare_arm
from tasks.experiments.decision.evidence import Arm, Cell, Epoch, Measured
from tasks.experiments.metrics import ArmMoments
from tasks.experiments.segments.estimates import why_too_small
from tasks.experiments.segments.evidence import SegmentEvidence
from tasks.experiments.segments.levels import UNKNOWN, Judged, Level, in_order
from tasks.experiments.statistics import lift
from tasks.experiments.statistics.comparison import Comparison
from tasks.experiments.statistics.estimates import Estimate
from tasks.experiments.statistics.heterogeneity import Heterogeneity, heterogeneity
from tasks.experiments.statistics.moments import EMPTY, SampleMean
from tasks.experiments.statistics.multiplicity import holm

_NOTHING = Compared(Comparison(), Comparison(), lift.UNKNOWN)
_Tested = dict[str, dict[str, dict[str, Estimate]]]  # dimension, level, the control and an arm


def judge_within_epochs(evidence: SegmentEvidence) -> Judged:
    """Compare the arms in every level within its epochs, and the levels by Cochran's Q; Holm."""
    epochs = {(each.dimension, each.level): each.epochs for each in evidence.epochs}
    levels: list[Level] = []
    tested: dict[str, _Tested] = {arm: {} for arm in evidence.treatments}
    for dimension, name, cells in in_order(evidence):
        held = epochs.get((dimension, name), ())
        found = _compared(evidence, cells, held)
        units = {arm: _shared(held, evidence.control, arm) for arm in evidence.treatments}
        notes = {arm: _note(evidence.kind, units[arm], found[arm].found) for arm in found}
        told = {arm: Comparison() if notes[arm] else each.found for arm, each in found.items()}
        arms = {arm: cell.moments for arm, cell in cells.items()}
        levels.append(Level(dimension, name, arms, told, notes))
        if levels[-1].is_remainder:
            continue
        for arm, each in found.items():
            pair = {} if notes[arm] else _pair(evidence.control, arm, units[arm], each.test)
            tested[arm].setdefault(dimension, {})[name] = pair
    return levels, _over_arms(evidence, levels, tested)


def _compared(
    evidence: SegmentEvidence, cells: Mapping[str, Cell], epochs: tuple[Epoch, ...]
) -> dict[str, Compared]:
    """Each treatment beside the control in one level."""
    found = dict.fromkeys(evidence.treatments, _NOTHING)
    if evidence.control not in cells or not epochs:
        return found
    arms = {
        name: Arm(name=name, weight=0.0, assigned=cell.n, **dict(cell))
        for name, cell in cells.items()
    }
    control = arms.pop(evidence.control)
    metric = Measured(
        name=evidence.metric,
        role="secondary",
        kind=evidence.kind,
        control=control,
        treatments=tuple(arms.values()),
        epochs=epochs,
    )
    return found | {name: compare_arm(metric, arm, evidence.alpha) for name, arm in arms.items()}


def _shared(epochs: Sequence[Epoch], control: str, arm: str) -> tuple[SampleMean, SampleMean]:
    """The units of both in the epochs in which both were on offer."""
    both = [
        (one.moments.value, other.moments.value)
        for epoch in epochs
        if (one := epoch.arms.get(control)) and (other := epoch.arms.get(arm))
    ]
    return (
        reduce(add, (first for first, _ in both), EMPTY),
        reduce(add, (second for _, second in both), EMPTY),
    )


def _note(kind: str, units: tuple[SampleMean, SampleMean], found: Comparison) -> str:
    """Why an arm is not compared in a level; empty where it is."""
    if not min(each.n for each in units):
        return "no units in an arm while both were on offer"
    too_small = (why_too_small(kind, ArmMoments(each)) for each in units)
    return next(filter(None, too_small), UNKNOWN if found.difference is None else "")


def _pair(
    control: str, arm: str, units: tuple[SampleMean, SampleMean], test: Comparison
) -> dict[str, Estimate]:
    """Two arms with the difference that is tested and its error, of which each has one half."""
    if test.difference is None or test.standard_error is None:
        return {}
    first, second = (each.n * test.standard_error**2 / 2 for each in units)
    return {
        control: Estimate(units[0].n, 0.0, first),
        arm: Estimate(units[1].n, test.difference, second),
    }


def _over_arms(
    evidence: SegmentEvidence, levels: Sequence[Level], tested: Mapping[str, _Tested]
) -> Heterogeneity:
    """Every arm has its own control, of the epochs in which both were on offer; Holm over all."""
    found = [
        heterogeneity(dimensions, evidence.control, evidence.alpha)
        for dimensions in tested.values()
    ]
    tests = [test for each in found for test in each.tests]
    adjusted = _adjusted([test.p_value for test in tests])
    p_values = {
        (level.dimension, level.name, arm): compared.p_value
        for level in levels
        for arm, compared in level.compared.items()
    }
    effects = [
        replace(effect, p_adjusted=p_values[effect.dimension, effect.level, effect.arm])
        for each in found
        for effect in each.effects
    ]
    by_dimension = [
        [effect for effect in effects if effect.dimension == dimension]
        for dimension in dict.fromkeys(effect.dimension for effect in effects)
    ]
    return Heterogeneity(
        tests=tuple(replace(t, p_adjusted=p) for t, p in zip(tests, adjusted, strict=True)),
        effects=tuple(
            replace(effect, p_adjusted=p)
            for group in by_dimension
            for effect, p in zip(group, _adjusted([e.p_adjusted for e in group]), strict=True)
        ),
    )


def _adjusted(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm over those that are known."""
    found = iter(holm([p for p in p_values if p is not None]))
    return [None if p is None else next(found) for p in p_values]
