"""Days since exposure as parts of a page: what becomes of the effect, a picture, a table. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from tasks import markdown
from tasks.experiments.exposure.evidence import DayEffect, Novelty, Trend
from tasks.experiments.reporting import pictures
from tasks.experiments.reporting.pictures import Point
from tasks.experiments.reporting.segments_page import MOVED
from tasks.experiments.reporting.words import interval, number

_FEWEST_DRAWN = 3  # days
_MOST_ROWS = 60
_TREND_HEAD = (
    "Arm",
    "The effect",
    "First days",
    "Last days",
    "Change along the line",
    "Interval",
    "p",
    "p, adjusted",
)
_DAY_HEAD = (
    "Arm",
    "Day",
    "Units, control",
    "Units",
    "Control",
    "Value",
    "Difference",
    "Interval",
)
NOTE = (
    "Day 0 is the first 24 hours after the assignment. All days are of the same units. *First* and "
    "*last days* are the effect of a day over the first and the last third. *Change along the "
    "line* is not the one less the other: it is that of a straight line through all days, from the "
    "first day to the last. Its test compares the units' own lines, so that "
    "units that do things in bursts do not look like a trend; Holm over the arms. *Steady* is said "
    "only where a change as large as the effect is excluded. What people do only once they hardly "
    "do on later days: its effect fades by nature."
)


def page(report: Novelty) -> str:
    """The whole report."""
    title = f"# {markdown.plain(report.experiment)}: over time since exposure"
    return "\n\n".join([title, *exposure_parts(report)]) + "\n"


def exposure_parts(report: Novelty) -> list[str]:
    """The verdict of every arm, a picture, and each day."""
    if report.problem:
        return [f"Unknown: {markdown.plain(report.problem)}."]
    units = sum(report.units.values())
    rest = report.units_in_all - units
    others = f"; {rest:,} others have not been there for so long" if rest else ""
    shown = f"{units:,} units, each followed for {report.followed_days} days"
    parts = [
        f"{markdown.plain(report.metric)} of {shown}{others}.",
        "\n".join(f"- {markdown.plain(trend.message)}" for trend in report.trends),
        markdown.table(_TREND_HEAD, [_trend_cells(trend) for trend in report.trends]),
        *_drawn(report),
        markdown.table(_DAY_HEAD, [_day_cells(day) for day in report.days[:_MOST_ROWS]]),
    ]
    hidden = len(report.days) - _MOST_ROWS
    if hidden > 0:
        parts.append(f"{hidden} more rows are in the JSON and CSV forms of this report.")
    return [*parts, *([MOVED] if report.is_within_epochs else []), NOTE]


def _trend_cells(trend: Trend) -> tuple[Any, ...]:
    return (
        trend.arm,
        trend.outcome,
        number(trend.early, sign=True),
        number(trend.late, sign=True),
        number(trend.change, sign=True),
        interval(trend.lower, trend.upper),
        number(trend.p_value),
        number(trend.p_adjusted),
    )


def _day_cells(day: DayEffect) -> tuple[Any, ...]:
    return (
        day.arm,
        day.day,
        day.control_units,
        day.units,
        number(day.control_value),
        number(day.value),
        number(day.difference, sign=True),
        interval(day.lower, day.upper),
    )


def _drawn(report: Novelty) -> list[str]:
    """One panel an arm, of those whose effect is known on some days."""
    panels = [
        (f"{arm}: difference from the control", points)
        for arm, days in groupby(report.days, key=lambda day: day.arm)
        if len(points := _points(list(days))) >= _FEWEST_DRAWN
    ]
    if not panels:
        return []
    told = "; ".join(trend.message for trend in report.trends)
    title = f"Effect on {report.metric} by days since exposure: {told}"
    drawn = pictures.over_time(panels, title, "days since exposure", is_whole=True)
    return [pictures.shown(drawn, title)]


def _points(days: Sequence[DayEffect]) -> list[Point]:
    return [
        Point(day.day, day.difference, day.lower, day.upper)
        for day in days
        if day.difference is not None
    ]
