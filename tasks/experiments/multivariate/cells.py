"""The cells of a design as estimates: one for each arm, all on the same footing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.experiments.decision.evidence import Measured
from tasks.experiments.metrics import ArmMoments, metrics
from tasks.experiments.statistics.cuped import adjust_all
from tasks.experiments.statistics.estimates import Estimate, of_mean, of_proportion
from tasks.experiments.statistics.lift import LEAST_FOR_FIELLER
from tasks.experiments.statistics.moments import as_proportion
from tasks.experiments.statistics.ratios import JointMoments, ratio_of_means
from tasks.experiments.statistics.strata import LEAST_UNITS
from tasks.experiments.statistics.stratified_joint import standardised

Floats = NDArray[np.float64]
_BY_MOMENTS = {"mean", "count", "sum", "quantile"}
_EMPTY = JointMoments(0, 0.0, 0.0, 0.0, 0.0, 0.0)
_SECOND = ("denominator", "covariate")


def problem_of(measured: Measured) -> str:
    """Why no effects of factors can be told; empty where they can."""
    if measured.problem:
        return measured.problem
    kind = metrics.get(measured.kind) if measured.kind in metrics.names() else None
    if kind is None or not (kind.is_rate or measured.kind in {*_BY_MOMENTS, "ratio"}):
        return f"a metric of kind {measured.kind} is compared arm by arm only"
    if measured.epochs and not _strata(measured):
        return "the split has moved, and never were all cells on offer at once"
    return ""


def cell_estimates(measured: Measured) -> dict[str, Estimate]:
    """The metric in each arm, by name: adjusted where it has a covariate, else as it is.

    Where the split has moved, arms are standardised: over the epochs in which all of them were on
    offer, weighted by the traffic of all. An epoch in which a cell has fewer than 2 units joins
    the next one. The metric must have no problem (`problem_of`).
    """
    if not measured.epochs:
        return _estimates(measured, {arm.name: arm.moments for arm in measured.arms})
    strata = _strata(measured)
    weights = np.array([traffic for traffic, _ in strata], dtype=float)
    arms = {
        arm.name: _standardised([cells[arm.name] for _, cells in strata], weights)
        for arm in measured.arms
    }
    return _estimates(measured, arms, is_counted=False)


def _estimates(
    measured: Measured, arms: Mapping[str, ArmMoments], *, is_counted: bool = True
) -> dict[str, Estimate]:
    """``is_counted``: a rate is a number of conversions; over epochs it is a mean of rates."""
    held = list(arms.values())
    is_rate = metrics.get(measured.kind).is_rate
    if measured.kind == "ratio":
        found = [ratio_of_means(arm.denominator or _EMPTY) for arm in held]
    elif _is_adjusted(held, is_rate=is_rate and is_counted):
        joint = [arm.covariate or _EMPTY for arm in held]
        found = adjust_all(joint, ddof=0 if is_rate else 1)
    elif is_rate and is_counted:
        found = [of_proportion(as_proportion(arm.value)) for arm in held]
    else:
        found = [of_mean(arm.value) for arm in held]
    return dict(zip(arms, found, strict=True))


def _is_adjusted(arms: Sequence[ArmMoments], *, is_rate: bool) -> bool:
    """As the arms themselves are compared: with a covariate, but not where a rate is tiny."""
    if any(arm.covariate is None for arm in arms):
        return False
    rates = [as_proportion(arm.value) for arm in arms] if is_rate else []
    return all(min(r.successes, r.n - r.successes) >= LEAST_FOR_FIELLER for r in rates)


def _strata(measured: Measured) -> list[tuple[int, dict[str, ArmMoments]]]:
    """The traffic, and the arms, of epochs with all cells, merged until each has 2 units."""
    names = [arm.name for arm in measured.arms]
    merged: list[tuple[int, dict[str, ArmMoments]]] = []
    waiting: tuple[int, dict[str, ArmMoments]] | None = None
    for epoch in measured.epochs:
        cells = {name: cell.moments for name, cell in epoch.arms.items() if cell is not None}
        if set(names) - set(cells):
            continue
        waiting = _joined(waiting, (epoch.traffic, cells))
        if _is_large(waiting):
            merged.append(waiting)
            waiting = None
    if waiting is not None and merged:
        merged[-1] = _joined(merged[-1], waiting)
    return merged


def _is_large(stratum: tuple[int, Mapping[str, ArmMoments]]) -> bool:
    return all(arm.value.n >= LEAST_UNITS for arm in stratum[1].values())


def _joined(
    first: tuple[int, dict[str, ArmMoments]] | None, second: tuple[int, dict[str, ArmMoments]]
) -> tuple[int, dict[str, ArmMoments]]:
    if first is None:
        return second
    arms = {name: _merged(arm, second[1][name]) for name, arm in first[1].items()}
    return first[0] + second[0], arms


def _merged(first: ArmMoments, second: ArmMoments) -> ArmMoments:
    beside = [_both(getattr(first, name), getattr(second, name)) for name in _SECOND]
    return ArmMoments(first.value + second.value, *beside)


def _both(first: JointMoments | None, second: JointMoments | None) -> JointMoments | None:
    return None if first is None or second is None else first + second


def _standardised(cells: Sequence[ArmMoments], weights: Floats) -> ArmMoments:
    alone = [JointMoments(c.value.n, c.value.mean, c.value.m2, 0.0, 0.0, 0.0) for c in cells]
    value = standardised(alone, weights).value
    beside = [[getattr(cell, name) for cell in cells] for name in _SECOND]
    joint = [None if None in held else standardised(held, weights) for held in beside]
    return ArmMoments(value, *joint)
