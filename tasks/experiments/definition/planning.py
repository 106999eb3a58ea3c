"""How long an experiment takes and what it can find: from what units did lately, or as stated."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks import markdown
from tasks.errors import InputError, Reason, Refused
from tasks.experiments.definition.files import as_plan, read_document
from tasks.experiments.definition.history import History, read_history
from tasks.experiments.definition.plan import ExperimentPlan
from tasks.experiments.definition.sample import Baseline, Sizing, smallest_effect

WEEKS = (1, 2, 3, 4, 6, 8, 12)


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Detectable(_Answer):
    """The smallest relative effect that so many units, which come in so many weeks, find."""

    weeks: int | None  # None: the size that the plan states
    units: int
    effect: float | None  # None: not any


class SamplePlan(_Answer):
    """What a plan needs: units with a value, days, and what other lengths would find."""

    experiment: str
    metric: str
    minimum_effect: float | None
    power: float
    baseline: Baseline
    source: str
    planned_sample_size: int | None = None  # None: no effect is named
    arms: dict[str, int] = {}  # units of each
    alpha: float | None = None  # of each comparison
    inflation: float | None = None  # what looking often costs, as a factor of the sample
    units_a_week: float | None = None  # with a value; None: nobody knows
    days: int | None = None
    detectable: tuple[Detectable, ...] = ()
    messages: tuple[str, ...] = ()


def plan_sample(
    plan: ExperimentPlan,
    history: History,
    *,
    baseline: Baseline | None = None,
    units_a_week: float | None = None,
    stated_size: int | None = None,
) -> SamplePlan:
    """Say what the plan needs. What is stated goes before what was seen.

    Args:
        plan: of the experiment; its minimum_effect, error, power, method and shares count.
        history: see read_history.
        baseline: the control, if stated.
        units_a_week: with a value, over all arms, if stated.
        stated_size: the planned size that the plan was to have.

    Raises Refused where there is neither history nor a stated baseline, or nothing can be planned.
    """
    stated = baseline or plan.baseline
    known = stated or history.baseline
    if known is None:
        raise Refused(f"planning {plan.name}", [_no_history(plan, history)])
    weekly = units_a_week or _units_a_week(plan, history)
    sizing = plan.sizing(known)
    found = SamplePlan(
        experiment=plan.name,
        metric=plan.metric.name,
        minimum_effect=plan.minimum_effect,
        power=plan.power,
        baseline=known,
        source="The baseline is as stated." if stated else _source(history),
        units_a_week=weekly,
        detectable=_detectable(sizing, weekly, stated_size),
    )
    needed = _needed(plan, sizing, weekly)
    return found.model_copy(
        update=needed | {"messages": _messages(plan, needed, weekly, stated_size)}
    )


def plan_file(
    connection: Connection,
    file: Path,
    *,
    days: int = 28,
    effect: float | None = None,
    mean: float | None = None,
    deviation: float | None = None,
    units_a_week: float | None = None,
) -> SamplePlan:
    """Plan the experiment in a file, which need not say its size; InputError, Refused as above.

    What is given here goes before what the file says.
    """
    document = read_document(file)
    stated_size = document.get("planned_sample_size")
    if effect is not None:
        document["minimum_effect"] = effect
    plan = as_plan(document | {"planned_sample_size": stated_size or 1}, str(file))
    baseline = None
    if mean is not None:
        baseline = Baseline(mean=mean, standard_deviation=deviation)
    elif deviation is not None:
        raise InputError("state the mean as well as the deviation of the control")
    history = read_history(connection, plan, days)
    return plan_sample(
        plan,
        history,
        baseline=baseline,
        units_a_week=units_a_week,
        stated_size=plan.planned_sample_size if stated_size else None,
    )


def as_markdown(planned: SamplePlan) -> str:
    """The answer for people."""
    lines = [f"# Plan of {markdown.plain(planned.experiment)}"]
    if planned.planned_sample_size is not None:
        arms = ", ".join(f"{name} {units:,}" for name, units in planned.arms.items())
        lines.append(
            f"**{planned.planned_sample_size:,} units** with a value find a relative effect of "
            f"{planned.minimum_effect:.3g} on {planned.metric} with power {planned.power:g} "
            f"({arms}). Looking at every hour is paid for: × {planned.inflation:.3f}."
        )
    if planned.days is not None:
        came = f"{planned.units_a_week:,.0f} units a week"
        lines.append(f"At {came} that takes **{planned.days} days**.")
    lines += [planned.source, *planned.messages]
    if planned.detectable:
        head = ["weeks", "units", "smallest effect found"]
        lines.append(markdown.table(head, [_row(each) for each in planned.detectable]))
    return "\n\n".join(lines)


def _units_a_week(plan: ExperimentPlan, history: History) -> float | None:
    if not history.units_a_day or not history.n:
        return None
    valued = history.n / history.units
    return float(history.units_a_day * 7 * valued * plan.traffic_fraction)


def _needed(plan: ExperimentPlan, sizing: Sizing, weekly: float | None) -> dict[str, Any]:
    if plan.minimum_effect is None:
        return {}
    try:
        sample = sizing.sample(plan.minimum_effect)
    except ValueError as error:
        raise Refused(f"planning {plan.name}", [Reason("no-sample", str(error))]) from None
    days = None
    if weekly:
        days = max(ceil(sample.total / weekly * 7), plan.minimum_weeks * 7)
    return {
        "planned_sample_size": sample.total,
        "arms": {arm.name: ceil(sample.total * arm.weight) for arm in plan.variants},
        "alpha": sample.alpha,
        "inflation": sample.inflation,
        "days": days,
    }


def _detectable(
    sizing: Sizing, weekly: float | None, stated_size: int | None
) -> tuple[Detectable, ...]:
    lengths: list[tuple[int | None, int]] = [(None, stated_size)] if stated_size else []
    lengths += [(weeks, int(weekly * weeks)) for weeks in WEEKS] if weekly else []
    return tuple(
        Detectable(weeks=weeks, units=units, effect=smallest_effect(sizing, units))
        for weeks, units in lengths
    )


def _messages(
    plan: ExperimentPlan, needed: dict[str, Any], weekly: float | None, stated_size: int | None
) -> tuple[str, ...]:
    found = []
    if weekly is None:
        found.append("How long it takes is unknown: state units a week, or wait for some to come.")
    if not needed:
        found.append("No minimum_effect is named: choose one, or a length, from the table.")
    elif stated_size is not None and stated_size < needed["planned_sample_size"]:
        found.append(
            f"The plan states {stated_size:,} units: too few to find its minimum_effect with "
            f"power {plan.power:g}."
        )
    fewest = plan.minimum_sample_size * len(plan.shares)
    if stated_size is not None and stated_size < fewest:
        found.append(
            f"Each arm needs {plan.minimum_sample_size:,} units before any verdict, {fewest:,} in "
            f"all: more than the {stated_size:,} that are stated."
        )
    return tuple(found)


def _source(history: History) -> str:
    return f"The baseline is what {history.n:,} control units did in the last {history.days} days."


def _no_history(plan: ExperimentPlan, history: History) -> Reason:
    seen = (
        "no control unit had a value"
        if not history.n
        else f"the values of {history.n:,} control units do not vary, or are 0 on average"
    )
    message = (
        f"in the last {history.days} days {seen} by {plan.metric.name!r} (events "
        f"{plan.metric.event_type!r}), so neither units nor days can be foreseen; state the "
        "baseline's mean and standard deviation, or look further back"
    )
    return Reason("no-history", message)


def _row(each: Detectable) -> list[str]:
    weeks = "as stated" if each.weeks is None else str(each.weeks)
    return [weeks, f"{each.units:,}", "none" if each.effect is None else f"{each.effect:.2%}"]
