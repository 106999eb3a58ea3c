"""Days since exposure where the split has moved: arms are compared within each intake.

Who came early met other days than who came late, and another split: pooled over intakes the arms'
days, and their slopes, differ by that alone. Effects and slopes of the intakes are put together as
those of the arms are, weighted by the units of all arms that were followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from operator import add

import numpy as np

from tasks.experiments.decision.comparing import compare_arm
from tasks.experiments.decision.evidence import Arm, Cell, Epoch, Measured, Pair
from tasks.experiments.exposure.evidence import DayEffect, ExposedArm, Intake, Trend
from tasks.experiments.exposure.trend import (
    LEAST_DAYS,
    LEAST_UNITS,
    judged,
    on_day,
    why_unknown,
)
from tasks.experiments.statistics.comparison import Comparison
from tasks.experiments.statistics.moments import SampleMean
from tasks.experiments.statistics.stratified import stratify


def pooled(intakes: Sequence[Intake]) -> list[ExposedArm]:
    """Every arm with the units of all intakes together, the control first."""
    by_arm = ([intake[name] for intake in intakes] for name in intakes[0]) if intakes else ()
    return [reduce(_merged, arms) for arms in by_arm]


def compare_within(
    intakes: Sequence[Intake], kind: str, first_day: int, alpha: float
) -> tuple[list[DayEffect], list[Trend]]:
    """The effect of every arm on every day, and what becomes of it: as `trend` does, by intakes.

    A unit's slope is a value of it like any other. Where a day's value is a ratio, it is the unit's
    part in the slope of the ratios, to first order. Values of days are those of all units together;
    their differences are not the effects. Raises UnknownName for a kind that nobody registered.
    """
    control, *arms = pooled(intakes)
    days = [
        _on_day(intakes, kind, control, arm, index, first_day, alpha)
        for arm in arms
        for index in range(len(control.days))
    ]
    effects = [
        np.array([day.difference for day in days if day.arm == arm.name], dtype=float)
        for arm in arms
    ]
    shared = [_shared_units(intakes, control.name, arm.name) for arm in arms]
    slopes = [
        _slope(intakes, control.name, arm.name, alpha)
        if units >= LEAST_UNITS and len(known) >= LEAST_DAYS and np.isfinite(known).all()
        else Comparison()
        for arm, units, known in zip(arms, shared, effects, strict=True)
    ]
    why = [why_unknown(units, len(control.days)) for units in shared]
    return days, judged([arm.name for arm in arms], effects, slopes, why, alpha)


def _on_day(
    intakes: Sequence[Intake],
    kind: str,
    control: ExposedArm,
    arm: ExposedArm,
    index: int,
    first_day: int,
    alpha: float,
) -> DayEffect:
    cells = [
        {name: _cell(kind, each, index) for name, each in intake.items()} for intake in intakes
    ]
    epochs = tuple(
        Epoch(number=number, traffic=sum(cell.n for cell in held.values() if cell), arms=held)
        for number, held in enumerate(cells, start=1)
    )
    sides = [_arm(kind, each, index) for each in (control, arm)]
    metric = Measured(
        name=kind,
        role="secondary",
        kind=kind,
        control=sides[0],
        treatments=(sides[1],),
        epochs=epochs,
    )
    found = compare_arm(metric, sides[1], alpha).found
    return on_day(kind, control, arm, index, first_day + index, found)


def _arm(kind: str, arm: ExposedArm, index: int) -> Arm:
    cell = _cell(kind, replace(arm, is_offered=True), index)
    return Arm(name=arm.name, weight=0.0, assigned=arm.units, **dict(cell or ()))


def _cell(kind: str, arm: ExposedArm, index: int) -> Cell | None:
    """One day; None where the arm was not on offer."""
    if not arm.is_offered and not arm.units:
        return None
    day = arm.days[index]
    other = Pair(mean=day.other_mean, m2=day.other_m2, c2=day.co_m2) if kind == "ratio" else None
    return Cell(n=day.n, mean=day.mean, m2=day.m2, denominator=other)


def _slope(intakes: Sequence[Intake], control: str, arm: str, alpha: float) -> Comparison:
    """What the effect changes by in a day: the unbiased figure, as sure as the test is."""
    sides = [[_slopes(intake[name]) for intake in intakes] for name in (control, arm)]
    traffic = [sum(each.units for each in intake.values()) for intake in intakes]
    found = stratify(sides[0], sides[1], traffic, alpha)
    return replace(found.effect, p_value=found.test.p_value)


def _slopes(arm: ExposedArm) -> SampleMean | None:
    return arm.slopes if arm.is_offered or arm.units else None


def _shared_units(intakes: Sequence[Intake], control: str, arm: str) -> int:
    """Of the smaller arm, in intakes in which both were on offer."""
    both = [
        (intake[control].units, intake[arm].units)
        for intake in intakes
        if _slopes(intake[control]) is not None and _slopes(intake[arm]) is not None
    ]
    return min(sum(side) for side in zip(*both, strict=True)) if both else 0


def _merged(first: ExposedArm, second: ExposedArm) -> ExposedArm:
    days = map(add, first.days, second.days)
    units, slopes = first.units + second.units, first.slopes + second.slopes
    return ExposedArm(first.name, units, tuple(days), slopes)
