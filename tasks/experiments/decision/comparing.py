"""One arm beside the control by one metric: as a whole, or within the epochs of a moving split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tasks.experiments.decision.evidence import Arm, Cell, Measured
from tasks.experiments.metrics import ArmMoments, MetricKind, metrics
from tasks.experiments.statistics.comparison import Comparison
from tasks.experiments.statistics.lift import UNKNOWN, Lift
from tasks.experiments.statistics.ratios import JointMoments
from tasks.experiments.statistics.stratified import stratify
from tasks.experiments.statistics.stratified_joint import JointStrata, stratify_joint

_MEANS = {"mean", "count", "sum"}
_Cells = Sequence[Cell | None]
_Pair = tuple[ArmMoments, ArmMoments]


@dataclass(frozen=True, slots=True)
class Compared:
    """An arm beside the control.

    ``found`` is what is reported: the unbiased difference, with the test's statistic. ``test`` is
    what is judged and has the interval that goes with it. Both are one where the split never moved.
    """

    found: Comparison
    test: Comparison
    lift: Lift


_UNKNOWN = Compared(Comparison(), Comparison(), UNKNOWN)


def compare_arm(metric: Measured, arm: Arm, alpha: float) -> Compared:
    """Compare an arm with the control; within epochs where the evidence has them.

    ``alpha`` is that of the intervals, for a single look. What cannot be told is undefined.
    Raises UnknownName for a kind of metric that nobody registered.
    """
    kind = metrics.get(metric.kind)
    if not metric.epochs:
        pair = metric.control.moments, arm.moments
        found = kind.compare(*pair, alpha)
        return Compared(found, found, kind.lift(*pair, alpha))
    try:
        with np.errstate(all="ignore"):
            return _within_epochs(metric, kind, arm, alpha)
    except (ArithmeticError, ValueError):  # figures that doubles cannot hold
        return _UNKNOWN


def _within_epochs(metric: Measured, kind: MetricKind, arm: Arm, alpha: float) -> Compared:
    controls = [epoch.arms.get(metric.control.name) for epoch in metric.epochs]
    treatments = [epoch.arms.get(arm.name) for epoch in metric.epochs]
    traffic = [epoch.traffic for epoch in metric.epochs]
    is_plain = metric.control.denominator is None and metric.control.covariate is None
    if is_plain and (kind.is_rate or metric.kind in _MEANS):
        values = [
            [None if c is None else c.moments.value for c in side]
            for side in (controls, treatments)
        ]
        told = stratify(values[0], values[1], traffic, alpha, is_rate=kind.is_rate)
        return Compared(_reported(told.effect, told.test), told.test, told.lift)
    weighed = _weighed(controls, treatments, traffic)
    if weighed is None:
        return _UNKNOWN
    effect, tested = weighed
    test = kind.compare(*tested, alpha)
    return Compared(_reported(kind.compare(*effect, alpha), test), test, kind.lift(*effect, alpha))


def _weighed(
    controls: _Cells, treatments: _Cells, traffic: Sequence[int]
) -> tuple[_Pair, _Pair] | None:
    """Both arms over their epochs, weighed to be reported and to be tested; None if never both."""

    def over_epochs(joint_of: Callable[[ArmMoments], JointMoments | None]) -> JointStrata | None:
        sides = [
            [None if c is None else joint_of(c.moments) for c in side]
            for side in (controls, treatments)
        ]
        return stratify_joint(sides[0], sides[1], traffic)

    value = over_epochs(
        lambda arm: JointMoments(arm.value.n, arm.value.mean, arm.value.m2, 0, 0, 0)
    )
    if value is None:
        return None
    denominator = over_epochs(lambda arm: arm.denominator)
    covariate = over_epochs(lambda arm: arm.covariate)

    def pair(weighing: Literal["effect", "test"]) -> _Pair:
        values = [each.value for each in getattr(value, weighing)]
        beside = [
            (None, None) if each is None else getattr(each, weighing)
            for each in (denominator, covariate)
        ]
        control, treatment = (ArmMoments(*parts) for parts in zip(values, *beside, strict=True))
        return control, treatment

    return pair("effect"), pair("test")


def _reported(effect: Comparison, test: Comparison) -> Comparison:
    """The effect, as sure as the test is."""
    return replace(effect, statistic=test.statistic, dof=test.dof, p_value=test.p_value, z=test.z)
