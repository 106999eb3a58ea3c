"""Segments as parts of a page: tests of the dimensions, effects by level, a picture. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from tasks import markdown
from tasks.experiments.reporting import pictures
from tasks.experiments.reporting.pictures import Bar
from tasks.experiments.reporting.words import NONE, interval, number, share
from tasks.experiments.segments.evidence import (
    MetricSegments,
    SegmentEffect,
    Segments,
    SegmentTest,
)

_MOST_ROWS = 60
_MOST_BARS = 25
_FINDINGS = {"differs": "differs", "none-seen": "no difference seen", "unknown": "unknown"}
_TEST_HEAD = ("Dimension", "Arm", "Levels", "Q", "p", "p, adjusted", "Effect", "Left out")
_EFFECT_HEAD = (
    "Dimension",
    "Level",
    "Arm",
    "Units, control",
    "Units",
    "Control",
    "Value",
    "Difference",
    "Interval",
    "Lift",
    "p, adjusted",
    "Result",
)
NOTE = (
    "*Q* is Cochran's test that the effect is the same in all levels; its *p, adjusted* shares one "
    "error among all dimensions and arms of the metric (Holm), that of an effect among the levels "
    "and arms of its dimension. Intervals are each for itself. All of it is that of one moment: it "
    "explains, and decides nothing. What was found so is an idea; an experiment for the segment "
    "(`headway experiment segment`) tests it."
)

MOVED = (
    "The split has moved: arms are compared within the epochs, so differences are not those "
    "of the values."
)


def page(report: Segments) -> str:
    """The whole report."""
    title = f"# {markdown.plain(report.experiment)}: by segment"
    return "\n\n".join([title, *segment_parts(report, "##")]) + "\n"


def segment_parts(report: Segments, heading: str, *, is_short: bool = False) -> list[str]:
    """Every metric; short: effects by level of the first one only."""
    parts: list[str] = []
    for place, metric in enumerate(report.metrics):
        parts += _metric_parts(metric, heading, is_short=is_short and place > 0)
    if report.cut_out:
        names = ", ".join(markdown.plain(name) for name in report.cut_out)
        parts.append(f"Experiments for one segment of it: {names}.")
    is_told = any(metric.tests for metric in report.metrics)
    return [*parts, *([NOTE] if is_told else [])] or ["It has no metric."]


def _metric_parts(metric: MetricSegments, heading: str, *, is_short: bool) -> list[str]:
    head = f"{heading} {markdown.plain(metric.metric)} ({metric.role})"
    if metric.problem:
        return [head, f"Unknown: {markdown.plain(metric.problem)}."]
    moved = [MOVED] if metric.is_within_epochs else []
    parts = [head, *moved, markdown.table(_TEST_HEAD, [_test_cells(each) for each in metric.tests])]
    if is_short:
        return parts
    shown = metric.effects[:_MOST_ROWS]
    parts += _drawn(metric)
    parts.append(markdown.table(_EFFECT_HEAD, [_effect_cells(each) for each in shown]))
    rest = len(metric.effects) - len(shown)
    if rest:
        parts.append(f"{rest} more rows are in the JSON and CSV forms of this report.")
    return parts


def _test_cells(test: SegmentTest) -> tuple[Any, ...]:
    return (
        test.dimension,
        test.arm,
        test.levels,
        number(test.q),
        number(test.p_value),
        number(test.p_adjusted),
        _FINDINGS[test.finding],
        _left_out(test),
    )


def _left_out(test: SegmentTest) -> str:
    few = ", ".join(test.left_out[:5])
    more = len(test.left_out) - 5
    return f"{few} and {more} more" if more > 0 else few or NONE


def _effect_cells(effect: SegmentEffect) -> tuple[Any, ...]:
    return (
        effect.dimension,
        effect.level,
        effect.arm,
        effect.control_units,
        effect.units,
        number(effect.control_value),
        number(effect.value),
        number(effect.difference, sign=True),
        interval(effect.lower, effect.upper),
        share(effect.lift, sign=True),
        number(effect.p_adjusted),
        _result(effect),
    )


def _result(effect: SegmentEffect) -> str:
    if effect.note:
        return effect.note if effect.difference is not None else f"unknown: {effect.note}"
    said = {"better": "significantly better", "harm": "significantly worse", "open": NONE}
    return said[effect.outcome]


def _drawn(metric: MetricSegments) -> Iterator[str]:
    """One picture a dimension: the effect in its largest levels."""
    for dimension, group in groupby(metric.effects, key=lambda effect: effect.dimension):
        known = [effect for effect in group if effect.difference is not None][:_MOST_BARS]
        if not known:
            continue
        told = "; ".join(
            f"{_label(each)} {number(each.difference, sign=True)} "
            f"({interval(each.lower, each.upper)})"
            for each in known[:12]
        )
        title = f"Effect on {metric.metric} by {dimension}: {told}"
        yield pictures.shown(pictures.bars([_bar(each) for each in known], title), title)


def _label(effect: SegmentEffect) -> str:
    return f"{effect.level} · {effect.arm}"


def _bar(effect: SegmentEffect) -> Bar:
    ends = effect.lower, effect.upper
    return Bar(_label(effect), effect.difference, ends, ends, effect.outcome)
