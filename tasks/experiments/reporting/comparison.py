"""How an experiment's metrics compare: between its arms, with the days before, by segment.

Descriptive: of the units' own values, uncapped and unadjusted, and without a test. Whether an arm
is better is what the verdict of the last look says, in the detailed report.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, TextClause, text

from tasks import markdown
from tasks.database import load_queries
from tasks.errors import InputError, NotFound
from tasks.experiments.reporting import pictures
from tasks.experiments.reporting.pictures import Bar
from tasks.experiments.reporting.words import NONE, day, number, share

QUERIES = load_queries(__package__, "comparison.sql")
FRAGMENTS = frozenset({"own_values", "summary"})
By = Literal["variant", "period", "segment"]
BY: tuple[By, ...] = get_args(By)
PERIODS = (30, 60, 90)
SHARES = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
PERCENTILES = tuple(f"p{round(100 * each)}" for each in SHARES)
_NOTES = {
    "variant": "All units of each arm; the change is against the control.",
    "period": "Units assigned in the period, and events that came in it; the change is against "
    "the same arm in the period before.",
    "segment": "Units of each level of the experiment's dimensions; the change is against the "
    "control in the same segment. *Percentile* is the mean percentile of the segment's units, of "
    "all arms, among all units: 50 is like everybody.",
}


class Compared(BaseModel):
    """One metric in one arm, in one slice; ``level`` is the period or the segment's value."""

    model_config = ConfigDict(frozen=True)

    metric: str
    role: str
    kind: str
    variant: str
    is_control: bool
    slice: str
    level: str
    units: int
    n: int  # units with a value
    events: int | None  # None: unknown, of statistics of others
    mean: float | None
    min: float | None
    max: float | None
    deviation: float | None
    percentiles: dict[str, float]  # p5 to p99; empty where the units' values are not known
    immature: int  # units whose window is still open
    change: float | None = None  # of the mean, relative
    percentile: float | None = None  # of the segment


class Comparison(BaseModel):
    """The comparison of one experiment in one way."""

    model_config = ConfigDict(frozen=True)

    experiment: str
    by: By
    days: int | None
    since: datetime | None
    until: datetime
    rows: tuple[Compared, ...]

    def as_markdown(self) -> str:
        """Write one table and one picture a metric."""
        title = f"# {markdown.plain(self.experiment)}: by {self.by}"
        if self.days:
            title += f", {self.days} days to {day(self.until)} UTC and the {self.days} before"
        if not self.rows:
            return f"{title}\n\nThere is nothing to compare: {_why_nothing(self.by)}.\n"
        parts = [title, _NOTES[self.by]]
        for metric, rows in groupby(self.rows, key=lambda row: row.metric):
            parts += _metric_parts(metric, list(rows), self.by)
        return "\n\n".join(parts) + "\n"

    def csv_rows(self) -> list[dict[str, Any]]:
        """One row a metric, arm and slice; each percentile in a field of its own."""
        shared = {"experiment": self.experiment, "by": self.by, "days": self.days}
        return [
            shared
            | row.model_dump(exclude={"percentiles"})
            | {name: row.percentiles.get(name) for name in PERCENTILES}
            for row in self.rows
        ]


def compare(connection: Connection, name: str, by: By, days: int = PERIODS[0]) -> Comparison:
    """Compare one way; ``days`` is the length of a period. NotFound where nothing is so called."""
    if days < 1:
        raise InputError(f"a period has at least one day, not {days}")
    found = connection.execute(QUERIES["compared_experiment"], {"name": name}).first()
    if found is None:
        raise NotFound(f"no experiment is called {name!r}; `headway experiment list` lists them")
    asked: dict[str, Any] = {"experiment_id": found.id, "shares": list(SHARES)}
    is_period = by == "period"
    if is_period:
        asked |= {"until": found.until, "length": timedelta(days=days)}
    connection.execute(QUERIES["room_to_sort"])
    rows = connection.execute(filled(f"compare_{by}s"), asked).all()
    places = _places(connection, asked) if by == "segment" else {}
    told = [_row(row, places.get((row.metric, row.slice, row.level))) for row in rows]
    return Comparison(
        experiment=name,
        by=by,
        days=days if is_period else None,
        since=found.until - timedelta(days=days) if is_period else None,
        until=found.until,
        rows=tuple(_with_changes(told, is_period=is_period)),
    )


def filled(name: str) -> TextClause:
    """A named query with its fragments filled in."""
    sql = QUERIES[name].text
    for fragment in FRAGMENTS:
        sql = sql.replace("{" + fragment + "}", QUERIES[fragment].text)
    return text(sql)


def _row(row: Any, percentile: float | None) -> Compared:
    # A percentile over no value at all is null as a whole.
    known = dict(zip(PERCENTILES, row.percentiles or (), strict=bool(row.percentiles)))
    fields = row._asdict() | {"percentiles": known, "percentile": percentile}
    return Compared.model_validate(fields)


def _places(connection: Connection, asked: dict[str, Any]) -> dict[tuple[str, str, str], float]:
    only = {"experiment_id": asked["experiment_id"]}
    rows = connection.execute(filled("segment_percentiles"), only)
    return {(row.metric, row.slice, row.level): row.percentile for row in rows}


def _with_changes(rows: Sequence[Compared], *, is_period: bool) -> Iterable[Compared]:
    """Set each mean beside the one it is compared with."""
    base = {
        _place(row, is_period=is_period): row
        for row in rows
        if (row.level == "before" if is_period else row.is_control)
    }
    for row in rows:
        other = base.get(_place(row, is_period=is_period))
        is_base = other is row or other is None
        yield row if is_base else row.model_copy(update={"change": _change(other, row)})


def _place(row: Compared, *, is_period: bool) -> tuple[str, ...]:
    return (row.metric, row.variant) if is_period else (row.metric, row.slice, row.level)


def _change(base: Compared | None, row: Compared) -> float | None:
    if base is None or not base.mean or row.mean is None:
        return None
    return (row.mean - base.mean) / abs(base.mean)


def _metric_parts(metric: str, rows: Sequence[Compared], by: By) -> list[str]:
    first = rows[0]
    head = f"## {markdown.plain(metric)} ({first.role}, {markdown.plain(first.kind)})"
    parts = [head, markdown.table(_head(by), [_cells(row, by) for row in rows])]
    drawn = [row for row in rows if row.percentiles]
    if drawn:
        told = "; ".join(f"{_label(row)} {_spread(row)}" for row in drawn[:12])
        title = f"Spread of {metric} (p5 to p95 thin, p25 to p75 thick, median): {told}"
        bars = [_bar(row) for row in drawn[:60]]
        parts.append(pictures.shown(pictures.bars(bars, title, is_zero_shown=False), title))
    if not all(row.percentiles for row in rows if row.n):
        parts.append(
            "Where percentiles are missing, the values of single units are not known: they were "
            "loaded as statistics."
        )
    open_units = sum(row.immature for row in rows)
    if open_units:
        parts.append(f"The window of {open_units} units is still open: their values may grow.")
    return parts


def _head(by: By) -> tuple[str, ...]:
    first = {"variant": (), "period": ("Period",), "segment": ("Dimension", "Level")}[by]
    last = ("Percentile",) if by == "segment" else ()
    figures = ("Units", "With a value", "Events", "Mean", "Change", "Min", "Max", "Deviation")
    return (*first, "Arm", *figures, *PERCENTILES, *last)


def _cells(row: Compared, by: By) -> tuple[Any, ...]:
    first = {"variant": (), "period": (row.level,), "segment": (row.slice, row.level)}[by]
    last = (number(row.percentile),) if by == "segment" else ()
    return (
        *first,
        f"{row.variant} (control)" if row.is_control else row.variant,
        row.units,
        row.n,
        NONE if row.events is None else row.events,
        number(row.mean),
        share(row.change, sign=True),
        number(row.min),
        number(row.max),
        number(row.deviation),
        *(number(row.percentiles.get(name)) for name in PERCENTILES),
        *last,
    )


def _bar(row: Compared) -> Bar:
    known = row.percentiles
    return Bar(
        label=_label(row),
        dot=known["p50"],
        thick=(known["p25"], known["p75"]),
        thin=(known["p5"], known["p95"]),
    )


def _label(row: Compared) -> str:
    return f"{row.level} · {row.variant}" if row.level else row.variant


def _spread(row: Compared) -> str:
    known = row.percentiles
    return f"{number(known['p50'])} ({number(known['p5'])} to {number(known['p95'])})"


def _why_nothing(by: By) -> str:
    if by == "segment":
        return "no unit has a level of a dimension; name `dimensions` in the plan"
    return "the experiment has no metric"
