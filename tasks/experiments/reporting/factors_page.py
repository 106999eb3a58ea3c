"""What each factor does, as a page: the design, and every metric with its picture. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks import markdown
from tasks.experiments.definition.factors import FactorPlan
from tasks.experiments.multivariate.effects import EffectFigures, MetricEffects
from tasks.experiments.reporting import pictures
from tasks.experiments.reporting.pictures import Bar
from tasks.experiments.reporting.words import NONE, day, interval, number, share
from tasks.experiments.statistics.factorial_designs import LETTERS

_OUTCOMES = {
    "better": "significantly better",
    "harm": "significantly worse",
    "found": "they change each other",
    "open": NONE,
    "unknown": "unknown",
}
_HEAD = ("Effect", "Difference", "Interval", "At every look", "Lift", "p", "p, adjusted")
_FURTHER = ("p, at every look", "Result", "One figure with")
NOTE = (
    "A main effect is the mean over the cells with a level less that over the cells with the base; "
    "cells count alike. An interaction is how much the effect of one level differs where the other "
    "factor is not at its base. *Interval*, *p* and *p, adjusted* (Holm over the effects of a "
    "table) are those of this look alone; *at every look* holds for all effects of a table at "
    "once and may be read as often as you like: it excludes 0 just where there is a result. A "
    "winner is decided among the arms, not here."
)


class FactorFacts(BaseModel):
    """The factors of one experiment, the design, and every metric by them."""

    model_config = ConfigDict(frozen=True)

    name: str
    look_number: int | None = None
    looked_at: datetime | None = None
    decision_id: int | None = None
    note: str = ""  # what a reader must know of these figures, or why there are none
    factors: tuple[FactorPlan, ...]
    generators: tuple[str, ...]
    cells: int
    resolution: int | None  # None: all cells are tried
    words: str  # the design, and what it cannot tell apart
    metrics: tuple[MetricEffects, ...] = ()


def page(report: FactorFacts) -> str:
    """Write the whole report; the pictures are embedded, so that it needs nothing else."""
    title = f"# {markdown.plain(report.name)}: what each factor does"
    return "\n\n".join([title, *factor_parts(report)]) + "\n"


def factor_parts(report: FactorFacts) -> list[str]:
    """The design, then metric by metric; without a title."""
    rows = [
        (letter, factor.name, factor.levels[0], ", ".join(factor.levels[1:]))
        for letter, factor in zip(LETTERS, report.factors, strict=False)
    ]
    look = f"Look {report.look_number} on {day(report.looked_at)} UTC."
    return [
        markdown.table(("", "Factor", "Base", "Other levels"), rows),
        report.words,
        *([look] if report.look_number else []),
        *([f"**{markdown.plain(report.note)}**"] if report.note else []),
        *(part for metric in report.metrics for part in _metric_parts(metric)),
        *([NOTE] if report.metrics else []),
    ]


def _metric_parts(metric: MetricEffects) -> list[str]:
    head = f"### {metric.role.capitalize()} metric: {markdown.plain(metric.name)}"
    if metric.problem:
        return [head, f"**No figures:** {markdown.plain(metric.problem)}"]
    levels = [
        (f"{each.factor}: {each.level}" + " (base)" * each.is_base, each.units, number(each.value))
        for each in metric.levels
    ]
    parts = [
        f"{head} ({markdown.plain(metric.kind)}), {metric.units} units",
        markdown.table(("Level", "Units", "Value"), levels),
    ]
    for what, effects in (("Main effects", metric.main), ("Interactions", metric.interactions)):
        if effects:
            parts += [f"#### {what}", _picture(what, metric.name, effects), _table(effects)]
    return parts


def _picture(what: str, metric: str, effects: Sequence[EffectFigures]) -> str:
    told = "; ".join(
        f"{each.name} {number(each.difference, sign=True)} ({interval(each.lower, each.upper)})"
        for each in effects
    )
    title = f"{what} on {metric}: {told}"
    bars = [
        Bar(
            label=each.name,
            dot=each.difference,
            thick=(each.lower, each.upper),
            thin=(each.sequential_lower, each.sequential_upper),
            outcome="better" if each.outcome == "found" else each.outcome,
        )
        for each in effects
    ]
    return pictures.shown(pictures.bars(bars, title), title)


def _table(effects: Sequence[EffectFigures]) -> str:
    return markdown.table((*_HEAD, *_FURTHER), [_cells(each) for each in effects])


def _cells(each: EffectFigures) -> tuple[Any, ...]:
    return (
        each.name,
        number(each.difference, sign=True),
        interval(each.lower, each.upper),
        interval(each.sequential_lower, each.sequential_upper),
        share(each.lift, sign=True),
        number(each.p_value),
        number(each.adjusted_p_value),
        number(each.sequential_p_value),
        _result(each),
        ", ".join(each.same_as) or NONE,
    )


def _result(each: EffectFigures) -> str:
    if each.missing:
        return f"unknown: too few units in {', '.join(each.missing)}"
    return _OUTCOMES[each.outcome]
