"""How long an experiment takes and what it can find: from what units did lately, or as stated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from tasks.errors import InputError, Reason, Refused
from tasks.experiments.definition.files import as_plan, read_document
from tasks.experiments.definition.history import History, read_history
from tasks.experiments.definition.plan import ExperimentPlan
from tasks.experiments.definition.planned import Detectable, SamplePlan
from tasks.experiments.definition.sample import Baseline, Sizing, smallest_effect

WEEKS = (1, 2, 3, 4, 6, 8, 12)


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
    known = _known(stated, history.baseline)
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
    messages = _messages(plan, needed, weekly, stated_size)
    of_baseline = _of_baseline(plan, known, is_stated=stated is not None)
    told = (*_by_factors(plan, sizing), *messages, *of_baseline)
    return found.model_copy(update=needed | {"messages": told})


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


def _known(stated: Baseline | None, seen: Baseline | None) -> Baseline | None:
    """What is stated, with the correlation that was seen where none is stated."""
    if stated is None or stated.correlation is not None or seen is None:
        return stated or seen
    return stated.model_copy(update={"correlation": seen.correlation})


def _of_baseline(plan: ExperimentPlan, known: Baseline, *, is_stated: bool) -> Iterator[str]:
    """What a reader must know of the figures that the plan was made with."""
    kind = plan.metric.kind
    if kind in {"ratio", "quantile"} and is_stated:
        yield (
            f"The stated deviation is taken as that of the {kind} itself: its standard error times "
            "√n, not the deviation of the units' values."
        )
    if known.correlation is not None:
        yield (
            f"The covariate explains {known.correlation**2:.0%} of the variance: that many units "
            "less are needed, by CUPED."
        )
    elif plan.metric.covariate_days is not None or plan.metric.covariate_attribute is not None:
        yield "What the covariate explains is unknown, so the plan is made without it."


def _units_a_week(plan: ExperimentPlan, history: History) -> float | None:
    if not history.units_a_day or not history.n:
        return None
    valued = history.n / history.units
    return float(history.units_a_day * 7 * valued * plan.traffic_fraction * (plan.layer_share or 1))


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


def _by_factors(plan: ExperimentPlan, sizing: Sizing) -> Iterator[str]:
    """What finds an effect of that size of one factor: all cells stand behind it."""
    if plan.design is None or plan.minimum_effect is None:
        return
    try:
        always, once = (
            main_effect_sample(plan, replace(sizing, method=method, options={}))
            for method in ("confidence_sequence", "fixed")
        )
    except ValueError:  # more units than can be counted
        return
    yield (
        "Those are units for each arm by itself. A main effect of that size is found by "
        f"{once:,} units in all at one look that was fixed beforehand, by {always:,} at any look."
    )


def main_effect_sample(plan: ExperimentPlan, sizing: Sizing) -> int:
    """Units over all cells that find the minimum effect of a level, of the largest factor."""
    levels = [len(factor.levels) for factor in plan.factors]
    alpha = plan.alpha / sum(count - 1 for count in levels)
    halves = replace(sizing, shares=(0.5, 0.5), alpha=alpha)
    return ceil(halves.sample(plan.minimum_effect or 0.0).total * max(levels) / 2)


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
            f"The plan states {stated_size:,} units: too few to find a relative effect of "
            f"{plan.minimum_effect:.3g} with power {plan.power:g}."
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
    if not history.n:
        seen = "no control unit had a value"
    elif plan.metric.kind == "quantile":
        seen = (
            f"the values of {history.n:,} control units are too few around the quantile, or do "
            "not vary there, or it is 0,"
        )
    else:
        seen = f"the values of {history.n:,} control units do not vary, or are 0 on average"
    message = (
        f"in the last {history.days} days {seen} by {plan.metric.name!r} (events "
        f"{plan.metric.event_type!r}), so neither units nor days can be foreseen; state the "
        "baseline's mean and standard deviation, or look further back"
    )
    return Reason("no-history", message)
