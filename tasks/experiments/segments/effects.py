"""Is the effect another one in another segment? From the moments of every level to findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np

from tasks.experiments.metrics import ArmMoments, metrics
from tasks.experiments.segments.estimates import estimates, why_not, why_too_small
from tasks.experiments.segments.evidence import (
    NONE,
    OTHER,
    MetricSegments,
    SegmentEffect,
    SegmentEvidence,
    SegmentTest,
)
from tasks.experiments.statistics.comparison import Comparison
from tasks.experiments.statistics.estimates import Estimate, compare
from tasks.experiments.statistics.heterogeneity import (
    Heterogeneity,
    HeterogeneityTest,
    heterogeneity,
)

_REMAINDERS = {
    OTHER: "many levels as one: shown, not tested",
    NONE: "units that do not say it: shown, not tested",
}
_FEWEST_LEVELS = 2


@dataclass(frozen=True, slots=True)
class _Level:
    """One level: who is there, and which arms are large enough to be compared."""

    dimension: str
    name: str
    arms: Mapping[str, ArmMoments]
    estimates: Mapping[str, Estimate]
    notes: Mapping[str, str]  # by arm: why it is not compared

    def compared(self, control: str, arm: str, alpha: float) -> Comparison:
        if self.notes[arm] or self.notes[control]:
            return Comparison()
        return compare(self.estimates[control], self.estimates[arm], alpha)

    def tested(self) -> dict[str, Estimate]:
        """The arms to test; none where the level is a remainder of others."""
        if self.name in _REMAINDERS:
            return {}
        return {arm: found for arm, found in self.estimates.items() if not self.notes[arm]}


def segments_of(evidence: SegmentEvidence) -> MetricSegments:
    """Test each dimension and arm (Cochran's Q, Holm), and give the effect in each level.

    Levels are compared by Welch's test on the estimates of the metric's kind. Those with few units
    are unknown; ``(other)`` and ``(none)`` are shown and not tested. Raises UnknownName for a kind
    that nobody registered.
    """
    problem = evidence.problem or why_not(evidence.kind)
    levels = [] if problem else _levels(evidence)
    dimensions = {
        dimension: {level.name: tested for level in group if (tested := level.tested())}
        for dimension, group in groupby(levels, key=lambda level: level.dimension)
    }
    with np.errstate(all="ignore"):
        found = heterogeneity(dimensions, evidence.control, evidence.alpha)
        return MetricSegments(
            metric=evidence.metric,
            role=evidence.role,
            kind=evidence.kind,
            alpha=evidence.alpha,
            problem=problem,
            tests=tuple(_tests(evidence, levels, found, dimensions)),
            effects=tuple(_effects(evidence, levels, found)),
        )


def _levels(evidence: SegmentEvidence) -> list[_Level]:
    """By dimension; the largest level first, the remainders last."""
    made = []
    cells = sorted(evidence.cells, key=lambda each: (each.dimension, each.level))
    for (dimension, name), group in groupby(cells, lambda each: (each.dimension, each.level)):
        arms = {each.arm: each.cell.moments for each in group}
        found = _estimated(evidence.kind, arms)
        notes = {
            arm: _note(evidence.kind, arms.get(arm), is_known=arm in found)
            for arm in (evidence.control, *evidence.treatments)
        }
        made.append(_Level(dimension, name, arms, found, notes))
    return sorted(made, key=_place)


def _estimated(kind: str, arms: Mapping[str, ArmMoments]) -> dict[str, Estimate]:
    try:
        return estimates(kind, arms)
    except (ArithmeticError, ValueError):
        return {}


def _note(kind: str, arm: ArmMoments | None, *, is_known: bool) -> str:
    """Why an arm is not compared in a level; empty where it is."""
    if arm is None:
        return "no units in an arm"
    return why_too_small(kind, arm) or ("" if is_known else "figures too large to compare")


def _place(level: _Level) -> tuple[str, bool, int, str]:
    units = sum(arm.value.n for arm in level.arms.values())
    return level.dimension, level.name in _REMAINDERS, -units, level.name


def _tests(
    evidence: SegmentEvidence,
    levels: Sequence[_Level],
    found: Heterogeneity,
    dimensions: Mapping[str, Mapping[str, object]],
) -> Iterator[SegmentTest]:
    tested = {(test.dimension, test.arm): test for test in found.tests}
    for dimension, group in groupby(levels, key=lambda level: level.dimension):
        names = [level.name for level in group if level.name not in _REMAINDERS]
        for arm in evidence.treatments:
            nothing = HeterogeneityTest(dimension, arm, None, 0, None, None, tuple(names))
            test = tested.get((dimension, arm), nothing)
            gone = {*names} - dimensions[dimension].keys() | {*test.left_out}
            left_out = tuple(name for name in names if name in gone)
            yield _test(test, left_out, evidence.alpha)


def _test(test: HeterogeneityTest, left_out: tuple[str, ...], alpha: float) -> SegmentTest:
    dimension, arm = test.dimension, test.arm
    finding: Literal["differs", "none-seen", "unknown"] = "unknown"
    if test.p_adjusted is None:
        message = (
            f"whether the effect of {arm} differs by {dimension} is unknown: fewer than "
            f"{_FEWEST_LEVELS} levels are large enough"
        )
    elif test.p_adjusted <= alpha:
        finding, message = "differs", f"the effect of {arm} differs by {dimension}"
    else:
        finding = "none-seen"
        message = f"no difference by {dimension} is seen in the effect of {arm}"
    return SegmentTest(
        dimension=dimension,
        arm=arm,
        levels=0 if test.q is None else test.dof + 1,
        left_out=left_out,
        q=test.q,
        dof=test.dof,
        p_value=test.p_value,
        p_adjusted=test.p_adjusted,
        finding=finding,
        message=message,
    )


def _effects(
    evidence: SegmentEvidence, levels: Sequence[_Level], found: Heterogeneity
) -> Iterator[SegmentEffect]:
    adjusted = {(each.dimension, each.level, each.arm): each.p_adjusted for each in found.effects}
    for level in levels:
        for arm in evidence.treatments:
            p_adjusted = adjusted.get((level.dimension, level.name, arm))
            yield _effect(evidence, level, arm, p_adjusted)


def _effect(
    evidence: SegmentEvidence, level: _Level, arm: str, p_adjusted: float | None
) -> SegmentEffect:
    control = evidence.control
    compared = level.compared(control, arm, evidence.alpha)
    too_small = level.notes[arm] or level.notes[control]
    known = {name: level.arms.get(name) for name in (control, arm)}
    return SegmentEffect(
        dimension=level.dimension,
        level=level.name,
        arm=arm,
        control_units=_units(known[control]),
        units=_units(known[arm]),
        control_value=_value(evidence.kind, known[control]),
        value=_value(evidence.kind, known[arm]),
        difference=compared.difference,
        lower=compared.lower,
        upper=compared.upper,
        lift=compared.lift,
        p_value=compared.p_value,
        p_adjusted=p_adjusted,
        is_tested=p_adjusted is not None,
        outcome=_outcome(compared, p_adjusted, evidence),
        note="; ".join(filter(None, (_REMAINDERS.get(level.name), too_small))),
    )


def _units(arm: ArmMoments | None) -> int:
    return 0 if arm is None else arm.value.n


def _value(kind: str, arm: ArmMoments | None) -> float | None:
    return None if arm is None else metrics.get(kind).value(arm)


def _outcome(
    compared: Comparison, p_adjusted: float | None, evidence: SegmentEvidence
) -> Literal["better", "harm", "open"]:
    if p_adjusted is None or p_adjusted > evidence.alpha or compared.difference is None:
        return "open"
    return "better" if (compared.difference > 0) is evidence.is_higher_better else "harm"
