"""A holdout beside the experiments that it was held out of: does their sum hold? Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from tasks.experiments.statistics.comparison import Comparison
from tasks.experiments.statistics.shrinkage import Effect, Shrunk, Total, against_holdout, roll_up

Agreement = Literal["agrees", "less", "more", "unknown"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Completed(_Frozen):
    """An experiment that was completed since the holdout began, by the holdout's metric.

    ``arm`` is its winner; without one, and with a single treatment, that. ``problem`` says why it
    does not count.
    """

    experiment: str
    completed_at: datetime
    arm: str | None
    is_launched: bool
    value: float | None = None  # treatment minus control, per unit
    standard_error: float | None = None
    problem: str = ""


class Figure(_Frozen):
    """An effect or a sum of effects per unit, with its interval."""

    value: float | None
    standard_error: float | None
    lower: float | None
    upper: float | None
    p_value: float | None = None
    lift: float | None = None


class RolledUp(_Frozen):
    """One experiment's effect as it was found, and with the luck taken out."""

    experiment: str
    arm: str | None
    completed_at: datetime
    is_launched: bool
    raw: Figure
    shrunk: Figure
    shrinkage: float  # 0 to 1: how far it was drawn to the mean of all


class RollUp(_Frozen):
    """All experiments together, and what the holdout says of their sum."""

    effects: tuple[RolledUp, ...]
    left_out: tuple[Completed, ...]
    launched: int
    total: Figure  # of the shrunken effects that were launched
    raw_total: Figure
    gap: Figure  # what the holdout shows less the total: below 0 it was promised more
    agreement: Agreement


def rolled_up(completed: Sequence[Completed], holdout: Comparison, alpha: float) -> RollUp:
    """Add up what was launched, and hold the sum against what the holdout shows.

    Args:
        completed: all experiments that were completed; those not launched tell how much is luck.
        holdout: everybody else compared with those held out.
        alpha: of the intervals, and of the test whether the two agree.
    """
    effects = [
        Effect(each.experiment, each.value, each.standard_error, each.is_launched)
        for each in completed
        if not each.problem
    ]
    found = roll_up(effects, alpha)
    by_name = {each.experiment: each for each in completed}
    told = tuple(_told(by_name[each.name], each, alpha) for each in found.effects)
    unknown = {each.experiment for each in completed} - {each.experiment for each in told}
    gap = against_holdout(found.total, holdout, alpha)
    return RollUp(
        effects=told,
        left_out=tuple(_unknown(each) for each in completed if each.experiment in unknown),
        launched=sum(each.is_launched for each in told),
        total=_of_total(found.total),
        raw_total=_of_total(found.raw_total),
        gap=figure(gap),
        agreement=_agreement(gap, alpha),
    )


def figure(found: Comparison) -> Figure:
    """A comparison in short."""
    return Figure(
        value=found.difference,
        standard_error=found.standard_error,
        lower=found.lower,
        upper=found.upper,
        p_value=found.p_value,
        lift=found.lift,
    )


def _agreement(gap: Comparison, alpha: float) -> Agreement:
    if gap.p_value is None or gap.difference is None:
        return "unknown"
    if gap.p_value >= alpha:
        return "agrees"
    return "less" if gap.difference < 0 else "more"


def _unknown(each: Completed) -> Completed:
    problem = each.problem or "its effect on the metric is not known"
    return each.model_copy(update={"problem": problem})


def _told(each: Completed, found: Shrunk, alpha: float) -> RolledUp:
    from scipy import special

    reach = -float(special.ndtri(alpha / 2)) * found.raw_error
    raw: dict[str, Any] = {"value": found.raw, "standard_error": found.raw_error}
    return RolledUp(
        experiment=each.experiment,
        arm=each.arm,
        completed_at=each.completed_at,
        is_launched=each.is_launched,
        raw=Figure(**raw, lower=found.raw - reach, upper=found.raw + reach),
        shrunk=Figure(
            value=found.value,
            standard_error=found.standard_error,
            lower=found.lower,
            upper=found.upper,
        ),
        shrinkage=found.shrinkage,
    )


def _of_total(total: Total) -> Figure:
    return Figure(
        value=total.value,
        standard_error=total.standard_error,
        lower=total.lower,
        upper=total.upper,
    )
