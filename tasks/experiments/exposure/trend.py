"""Days since exposure: the effect on each, and whether it fades or grows over them."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.experiments.exposure.evidence import DayEffect, ExposedArm, Outcome, Trend
from tasks.experiments.metrics import ArmMoments, metrics
from tasks.experiments.statistics.comparison import Comparison
from tasks.experiments.statistics.estimates import Estimate, compare
from tasks.experiments.statistics.multiplicity import holm

Floats = NDArray[np.floating[Any]]

LEAST_UNITS = 100  # followed, in each arm
LEAST_DAYS = 3


def effects_by_day(
    kind: str, control: ExposedArm, arms: Sequence[ExposedArm], first_day: int, alpha: float
) -> list[DayEffect]:
    """Compare every arm with the control on every day, as the metric's kind does.

    Days are each for itself: the same units are seen on all of them. Raises UnknownName for a kind
    that nobody registered.
    """
    compare_days = metrics.get(kind).compare
    return [
        on_day(kind, control, arm, index, first_day + index, compare_days(*pair, alpha))
        for arm in arms
        for index in range(len(control.days))
        for pair in [(_moments(kind, control, index), _moments(kind, arm, index))]
    ]


def trends(
    kind: str, control: ExposedArm, arms: Sequence[ExposedArm], first_day: int, alpha: float
) -> list[Trend]:
    """Tell for every arm whether its effect fades, grows or stays as it is.

    A straight line through the arm's values on the days is laid for the arm and for the control,
    both through the same units on all days, and their slopes are compared by Welch's test; what a
    unit does on one day and on another may depend on each other in any way, because units are
    compared and not days. Holm over the arms. Steady is only what would have shown: a change as
    large as the effect itself is excluded.
    """
    with np.errstate(all="ignore"):
        compared = [
            compare(_slope(kind, control, first_day), _slope(kind, arm, first_day), alpha)
            for arm in arms
        ]
    effects = [np.array(_values(kind, arm)) - np.array(_values(kind, control)) for arm in arms]
    why = [why_unknown(min(control.units, arm.units), len(control.days)) for arm in arms]
    return judged([arm.name for arm in arms], effects, compared, why, alpha)


def judged(
    arms: Sequence[str],
    effects: Sequence[Floats],
    slopes: Sequence[Comparison],
    why: Sequence[str],
    alpha: float,
) -> list[Trend]:
    """Say what becomes of the effect of each arm; Holm over the arms.

    Args:
        arms: their names.
        effects: of each arm, by day; NaN where it is unknown.
        slopes: of each arm: what the effect changes by in a day.
        why: of each arm: what to say where that is unknown.
        alpha: of all arms together.
    """
    adjusted = iter(holm([each.p_value for each in slopes if each.p_value is not None]))
    found = []
    for told in zip(arms, effects, slopes, why, strict=True):
        p_adjusted = None if told[2].p_value is None else next(adjusted)
        found.append(_trend(*told, p_adjusted, alpha))
    return found


def on_day(
    kind: str, control: ExposedArm, arm: ExposedArm, index: int, day: int, found: Comparison
) -> DayEffect:
    """One day with what was found on it, beside the values of both arms."""
    measure = metrics.get(kind)
    pair = _moments(kind, control, index), _moments(kind, arm, index)
    return DayEffect(
        day=day,
        arm=arm.name,
        control_units=pair[0].value.n,
        units=pair[1].value.n,
        control_value=measure.value(pair[0]),
        value=measure.value(pair[1]),
        difference=found.difference,
        lower=found.lower,
        upper=found.upper,
    )


def _moments(kind: str, arm: ExposedArm, index: int) -> ArmMoments:
    joint = arm.days[index]
    return ArmMoments(joint.value, joint if kind == "ratio" else None)


def _values(kind: str, arm: ExposedArm) -> list[float]:
    """The arm's value on each day; NaN where it has none."""
    measure = metrics.get(kind)
    found = (measure.value(_moments(kind, arm, index)) for index in range(len(arm.days)))
    return [nan if value is None else value for value in found]


def _slope(kind: str, arm: ExposedArm, first_day: int) -> Estimate:
    """Slope of the arm's value over the days, and the variance that one unit gives it."""
    if arm.units < LEAST_UNITS or len(arm.days) < LEAST_DAYS:
        return Estimate(arm.units, nan, nan)
    middle, spread = weights_of(first_day, len(arm.days))
    days = np.arange(first_day, first_day + len(arm.days))
    slope = float((days - middle) / spread @ np.array(_values(kind, arm)))
    variance = arm.slopes.variance
    return Estimate(arm.units, slope, nan if variance is None else variance)


def weights_of(first_day: int, count: int) -> tuple[float, float]:
    """Centre of the days, and the sum of their squared distances from it."""
    return first_day + (count - 1) / 2, count * (count**2 - 1) / 12


def _trend(
    arm: str,
    effects: Floats,
    slope: Comparison,
    why: str,
    p_adjusted: float | None,
    alpha: float,
) -> Trend:
    last = len(effects) - 1
    average = float(effects.mean()) if len(effects) else nan
    if slope.difference is None or slope.lower is None or slope.upper is None or last < 1:
        return _unknown(arm, why, average)
    span = -(-len(effects) // 3)
    told = Trend(
        arm=arm,
        outcome="unknown",
        message="",
        span=span,
        average=average,
        early=float(effects[:span].mean()),
        late=float(effects[-span:].mean()),
        change=slope.difference * last,
        lower=slope.lower * last,
        upper=slope.upper * last,
        p_value=slope.p_value,
        p_adjusted=p_adjusted,
    )
    return _judged(told, alpha)


def _judged(told: Trend, alpha: float) -> Trend:
    early, late = told.early or 0.0, told.late or 0.0
    ends = f"{early:+.3g} over the first {told.span} days, {late:+.3g} over the last {told.span}"
    outcome: Outcome
    if told.p_adjusted is not None and told.p_adjusted <= alpha:
        outcome = "fades" if abs(late) < abs(early) else "grows"
        turned = ", with another sign" if early * late < 0 else ""
        message = f"the effect of {told.arm} {outcome}: {ends}{turned}"
    elif max(abs(told.lower or 0.0), abs(told.upper or 0.0)) < abs(told.average or 0.0):
        outcome, message = "steady", f"the effect of {told.arm} is steady: {ends}"
    else:
        outcome = "unknown"
        message = (
            f"whether the effect of {told.arm} lasts is unknown: {ends}, and the change from the "
            f"first day to the last may be anything from {told.lower:+.3g} to {told.upper:+.3g}"
        )
    return told.model_copy(update={"outcome": outcome, "message": message})


def why_unknown(units: int, days: int) -> str:
    """Why a trend is unknown; ``units`` are those of the smaller arm."""
    if days < LEAST_DAYS:
        return f"fewer than {LEAST_DAYS} days"
    if units < LEAST_UNITS:
        return f"fewer than {LEAST_UNITS} units of an arm were followed for so many days"
    return "on some day nobody has a value, or nothing varies"


def _unknown(arm: str, why: str, average: float) -> Trend:
    fields = ("span", "early", "late", "change", "lower", "upper", "p_value", "p_adjusted")
    return Trend(
        arm=arm,
        outcome="unknown",
        message=f"whether the effect of {arm} lasts is unknown: {why}",
        average=average if isfinite(average) else None,
        **dict.fromkeys(fields),
    )
