"""Is the effect another one in another segment? From the moments of every level to findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Literal

import numpy as np

from tasks.experiments.metrics import ArmMoments, metrics
from tasks.experiments.segments.estimates import why_not
from tasks.experiments.segments.evidence import (
    MetricSegments,
    SegmentEffect,
    SegmentEvidence,
    SegmentTest,
)
from tasks.experiments.segments.levels import REMAINDERS, Level, judge_levels
from tasks.experiments.segments.within_epochs import judge_within_epochs
from tasks.experiments.statistics.comparison import Comparison
from tasks.experiments.statistics.heterogeneity import Heterogeneity, HeterogeneityTest

_FEWEST_LEVELS = 2
_NOTHING = Heterogeneity((), ())


def segments_of(evidence: SegmentEvidence) -> MetricSegments:
    """Test each dimension and arm (Cochran's Q, Holm), and give the effect in each level.

    Levels are compared by Welch's test on the estimates of the metric's kind; where the evidence
    has epochs, within them. Those with few units are unknown; ``(other)`` and ``(none)`` are shown
    and not tested. Raises UnknownName for a kind that nobody registered.
    """
    problem = evidence.problem or why_not(evidence.kind)
    judge = judge_within_epochs if evidence.epochs else judge_levels
    with np.errstate(all="ignore"):
        levels, found = ([], _NOTHING) if problem else judge(evidence)
        return MetricSegments(
            metric=evidence.metric,
            role=evidence.role,
            kind=evidence.kind,
            alpha=evidence.alpha,
            problem=problem,
            is_within_epochs=bool(evidence.epochs),
            tests=tuple(_tests(evidence, levels, found)),
            effects=tuple(_effects(evidence, levels, found)),
        )


def _tests(
    evidence: SegmentEvidence, levels: Sequence[Level], found: Heterogeneity
) -> Iterator[SegmentTest]:
    tested = {(test.dimension, test.arm): test for test in found.tests}
    for dimension, group in groupby(levels, key=lambda level: level.dimension):
        names = tuple(level.name for level in group if not level.is_remainder)
        for arm in evidence.treatments:
            nothing = HeterogeneityTest(dimension, arm, None, 0, None, None, names)
            yield _test(tested.get((dimension, arm), nothing), evidence.alpha)


def _test(test: HeterogeneityTest, alpha: float) -> SegmentTest:
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
        left_out=test.left_out,
        q=test.q,
        dof=test.dof,
        p_value=test.p_value,
        p_adjusted=test.p_adjusted,
        finding=finding,
        message=message,
    )


def _effects(
    evidence: SegmentEvidence, levels: Sequence[Level], found: Heterogeneity
) -> Iterator[SegmentEffect]:
    adjusted = {(each.dimension, each.level, each.arm): each.p_adjusted for each in found.effects}
    for level in levels:
        for arm in evidence.treatments:
            p_adjusted = adjusted.get((level.dimension, level.name, arm))
            yield _effect(evidence, level, arm, p_adjusted)


def _effect(
    evidence: SegmentEvidence, level: Level, arm: str, p_adjusted: float | None
) -> SegmentEffect:
    control = evidence.control
    compared = level.compared[arm]
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
        note="; ".join(filter(None, (REMAINDERS.get(level.name), level.notes[arm]))),
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
