"""Read what units did on each day since their assignment: one statement for all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from math import ceil
from typing import Any

from sqlalchemy import Connection, TextClause, text
from sqlalchemy.exc import DataError

from tasks.database import load_queries
from tasks.errors import InputError, NotFound
from tasks.experiments.exposure.evidence import DayEffect, ExposedArm, Intake, Novelty, Trend
from tasks.experiments.exposure.trend import (
    LEAST_DAYS,
    effects_by_day,
    trends,
    weights_of,
)
from tasks.experiments.exposure.within_epochs import compare_within, pooled
from tasks.experiments.statistics.moments import SampleMean
from tasks.experiments.statistics.ratios import JointMoments

QUERIES = load_queries(__package__)
FOLDED = load_queries("tasks.experiments.folding", "fold.sql")
MOST_DAYS = 28
_DAY_SECONDS, _DAY_HOURS = 86_400, 24
_ZERO_IF_DIVIDED = {"sum", "count", "any"}
_KNOWN = {"proportion", "retention", "mean", "count", "sum", "ratio"}
_NO_METRIC = "it has no primary metric"
_NO_CONTROL = "it has no control"
_NOT_FOLDED = "its statistics have not been worked out yet"
_NO_UNITS = "what single units did is not known: none is assigned, or somebody else added them up"
_TOO_LARGE = "its figures are too large to compare"


def read_novelty(connection: Connection, name: str, days: int | None = None) -> Novelty:
    """Compare the arms on each day since exposure, and tell what becomes of the effect.

    Args:
        connection: where to read.
        name: the experiment.
        days: take the units that were followed for so many days; by default for as many as half of
            all units were, at most 28.

    Raises NotFound where nothing is so called, InputError for too few days.
    """
    if days is not None and days < LEAST_DAYS:
        raise InputError(f"a trend needs {LEAST_DAYS} days or more, not {days}")
    head = connection.execute(QUERIES["exposed_experiment"], {"name": name}).first()
    if head is None:
        raise NotFound(f"no experiment is called {name!r}; `headway experiment list` lists them")
    first, last = _days(head, days)
    problem = _problem(head) or _too_short(head, last - first)
    if problem:
        return _novelty(head, first, max(first, last), problem)
    try:
        with connection.begin_nested():
            intakes = _intakes(connection, head, first, last)
    except DataError:
        return _novelty(head, first, last, _TOO_LARGE)
    return _novelty(head, first, last, intakes=intakes)


def _days(head: Any, asked: int | None) -> tuple[int, int]:
    """From which day on to which, which is not part of it: within the metric's window."""
    first = ceil((head.window_start_hours or 0) / _DAY_HOURS)
    half = int((head.half_seconds or 0) // _DAY_SECONDS)
    last = min(half, MOST_DAYS) if asked is None else asked
    if head.window_hours is not None:
        last = min(last, int(head.window_hours // _DAY_HOURS))
    return first, last


def _problem(head: Any) -> str:
    """Why there is nothing to compare; empty where there is."""
    if head.metric is None:
        return _NO_METRIC
    if head.kind not in _KNOWN:
        return f"the value of a {head.kind} is not made up of days"
    if not head.units:
        return _NO_UNITS
    if not head.has_control:
        return _NO_CONTROL
    if head.until is None:
        return _NOT_FOLDED
    return ""


def _too_short(head: Any, count: int) -> str:
    if count >= LEAST_DAYS:
        return ""
    if head.window_hours is not None and (
        head.window_hours - (head.window_start_hours or 0) < LEAST_DAYS * _DAY_HOURS
    ):
        return f"the metric's window has fewer than {LEAST_DAYS} whole days"
    return f"half of the units have not been there for {LEAST_DAYS} days of the metric's window yet"


def _intakes(connection: Connection, head: Any, first: int, last: int) -> list[Intake]:
    """One for each split that held; one for all units where it never moved."""
    is_everybody = head.is_zero_if_missing and not head.is_ratio
    middle, spread = weights_of(first, last - first)
    asked = {
        "experiment_id": head.id,
        "has_moved": head.has_moved,
        "until": head.until,
        "first_day": first,
        "days": last,
        "middle": middle,
        "spread": spread,
        "event_type": head.event_type,
        "denominator_event_type": head.denominator_event_type or head.event_type,
        "cap": head.cap,
        "is_ratio": head.is_ratio,
        "is_zero_if_missing": head.is_zero_if_missing,
        "is_zero_if_divided": head.is_ratio and head.aggregation in _ZERO_IF_DIVIDED,
        "is_everybody": is_everybody,
    }
    connection.execute(QUERIES["room_to_hash"])
    rows = connection.execute(days_query(head.aggregation, head.denominator_aggregation), asked)
    return [
        {arm: _arm(head, list(of_arm)) for arm, of_arm in groupby(group, key=lambda row: row.arm)}
        for _, group in groupby(rows, key=lambda row: row.epoch)
    ]


def _with_everybody(arm: ExposedArm, *, denominator: float) -> ExposedArm:
    """The arm with the units that did nothing: on the days they did not, their value is 0.

    ``denominator`` is what such a unit adds to the second value of the day.
    """

    def filled(day: JointMoments) -> JointMoments:
        return day + JointMoments(arm.units - day.n, 0.0, 0.0, denominator, 0.0, 0.0)

    return replace(arm, days=tuple(filled(day) for day in arm.days))


def days_query(aggregation: str, denominator_aggregation: str) -> TextClause:
    """The statement with the values filled in, as the folding works them out."""
    filled = QUERIES["exposure_days"].text
    for fragment, name, event_type in (
        ("{value}", aggregation, ":event_type"),
        ("{denominator}", denominator_aggregation, ":denominator_event_type"),
    ):
        usable = "abs(m.event_value) <= 1e140"
        if name in ("count", "any"):
            usable = f"({usable}) IS NOT FALSE"
        value = FOLDED[f"value_by_{name}"].text
        filled = filled.replace(
            fragment, value.replace("{condition}", f"m.event_type = {event_type} AND {usable}")
        )
    return text(filled)


def _arm(head: Any, rows: Sequence[Any]) -> ExposedArm:
    first = rows[0]
    # Units that did nothing have no part in the slope: it is 0.
    slopes = SampleMean(first.slope_n, first.slope_mean, first.slope_m2)
    slopes += SampleMean(first.units - first.slope_n, 0.0, 0.0)
    found = ExposedArm(
        name=first.arm,
        units=first.units,
        days=tuple(
            JointMoments(row.n, row.mean, row.m2, row.x_mean, row.x_m2, row.c2) for row in rows
        ),
        slopes=replace(slopes, mean=slopes.mean + (first.usual_slope or 0.0)),
        is_offered=first.is_offered,
    )
    if not head.is_zero_if_missing:
        return found
    return _with_everybody(found, denominator=0.0 if head.is_ratio else 1.0)


def _novelty(
    head: Any, first: int, last: int, problem: str = "", intakes: Sequence[Intake] = ()
) -> Novelty:
    arms = pooled(intakes)
    days: Sequence[DayEffect] = ()
    told: Sequence[Trend] = ()
    if arms and head.has_moved:
        days, told = compare_within(intakes, head.kind, first, head.alpha)
    elif arms:
        compared = (head.kind, arms[0], arms[1:], first, head.alpha)
        days, told = effects_by_day(*compared), trends(*compared)
    return Novelty(
        experiment=head.name,
        as_of=head.now,
        metric=head.metric or "",
        kind=head.kind or "",
        alpha=head.alpha or 0.0,
        first_day=first,
        followed_days=last,
        units={arm.name: arm.units for arm in arms},
        units_in_all=head.units,
        problem=problem,
        is_within_epochs=bool(arms) and head.has_moved,
        days=tuple(days),
        trends=tuple(told),
    )
