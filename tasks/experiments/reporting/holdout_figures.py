"""A holdout beside the experiments that it was held out of: does their sum hold? Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from tasks.experiments.statistics.comparison import Comparison
from tasks.experiments.statistics.shrinkage import Effect, Shrunk, Total, against_holdout, roll_up

LEAST_REACH = 0.95
"""Of everybody else's time: a launch that reached less did not bring its whole effect."""

Agreement = Literal["agrees", "less", "more", "unknown"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Completed(_Frozen):
    """An experiment that was completed since the holdout began, by the holdout's metric.

    ``arm`` is its winner; without one, and with a single treatment, that. Launched is what reached
    people beyond its own arm: a winner whose rollout has begun or, where it has none, that the
    application shows since the completion. ``problem`` says why it does not count.
    """

    experiment: str
    completed_at: datetime
    arm: str | None
    has_won: bool  # a winner that is not the control
    is_launched: bool
    reach: float | None = None  # of everybody else's time since the holdout began, 0 to 1
    reaches_held_out: bool = False  # its rollout does not respect holdouts
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
    has_won: bool
    is_launched: bool
    reach: float | None  # of everybody else's time since the holdout began; None: nothing won
    raw: Figure
    shrunk: Figure
    shrinkage: float  # 0 to 1: how far it was drawn to the mean of all


class RollUp(_Frozen):
    """All experiments together, and what the holdout says of their sum.

    The sum takes every launch with its whole effect, so that it is only held against the holdout
    where all of them reached nearly everybody else all the time; ``unknown_because`` is why not.
    """

    effects: tuple[RolledUp, ...]
    left_out: tuple[Completed, ...]
    launched: int
    total: Figure  # of the shrunken effects that were launched
    raw_total: Figure
    gap: Figure  # what the holdout shows less the total: below 0 it was promised more
    agreement: Agreement
    unknown_because: str  # empty where the two could be compared


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
    why = _why_unknown(completed, unknown, holdout)
    gap = Comparison() if why else against_holdout(found.total, holdout, alpha)
    return RollUp(
        effects=told,
        left_out=tuple(_unknown(each) for each in completed if each.experiment in unknown),
        launched=sum(each.is_launched for each in told),
        total=_of_total(found.total),
        raw_total=_of_total(found.raw_total),
        gap=figure(gap),
        agreement=_agreement(gap, alpha),
        unknown_because=why,
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


def _why_unknown(completed: Sequence[Completed], unknown: set[str], holdout: Comparison) -> str:
    """Why the sum cannot be held against what the holdout shows; empty where it can."""
    launched = [each for each in completed if each.is_launched]
    if holdout.difference is None or holdout.standard_error is None:
        return "what the holdout shows is not known yet"
    if not launched:
        waiting = ", ".join(each.experiment for each in completed if each.has_won)
        begun = f"; of what won no rollout has begun: {waiting}" if waiting else ""
        return f"nothing was launched yet that the holdout could confirm{begun}"
    return "; ".join(_obstacles(launched, unknown))


def _obstacles(launched: Sequence[Completed], unknown: set[str]) -> Iterator[str]:
    short = [each for each in launched if (each.reach or 0.0) < LEAST_REACH]
    if short:
        named = ", ".join(f"{each.experiment} {each.reach or 0.0:.1%}" for each in short)
        yield (
            f"of everybody else's time since the holdout began, launches reached only a part "
            f"({named}), and less than {LEAST_REACH:.0%} does not bring a whole effect"
        )
    if left := [each.experiment for each in launched if each.experiment in unknown]:
        yield f"what was launched of {', '.join(left)} is in it too, and has no known effect"
    if both := [each.experiment for each in launched if each.reaches_held_out]:
        yield f"the rollout of {', '.join(both)} reaches those held out as well"


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
        has_won=each.has_won,
        is_launched=each.is_launched,
        reach=each.reach,
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
