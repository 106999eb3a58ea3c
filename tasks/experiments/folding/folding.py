"""Fold experiments: the values of the units that changed, and the moments they move.

One fold of an experiment at a time; what others load meanwhile is folded by the next one. Only the
units in the log of touched units, and those whose window is over since, are worked out again; a
metric is folded in full the first time, and when its definition changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Connection, Row, TextClause, text

from tasks.database import load_queries

QUERIES = load_queries(__package__, "fold.sql")

# Larger values have no square that a double can hold; NaN is larger than any.
_USABLE = "(m.event_value IS NULL OR abs(m.event_value) <= 1e140)"


class FoldedExperiment(BaseModel, frozen=True):
    """An experiment that has statistics."""

    id: str
    name: str


class FoldSummary(BaseModel, frozen=True):
    """What a fold did for one experiment."""

    experiment_id: str
    metrics: int
    is_full: bool  # a metric was folded from all units
    units: int  # values worked out, over all metrics
    left_out: int  # events of those units whose value is not finite, or above 1e140


def fold(tx: Connection, experiment_ids: Sequence[str]) -> list[FoldSummary]:
    """Bring the sufficient statistics of some experiments up to date.

    A fixed number of statements, however many experiments, metrics and units there are.
    """
    prepare(tx, experiment_ids)
    fold_units(tx, experiment_ids)
    keep_moments(tx)
    return [FoldSummary.model_validate(row._asdict()) for row in tx.execute(QUERIES["summarize"])]


def prepare(tx: Connection, experiment_ids: Sequence[str]) -> None:
    """Lock the experiments, and find out what is to be folded: `fold_due`."""
    asked = {"experiment_ids": list(experiment_ids)}
    tx.execute(QUERIES["lock_experiments"], asked)
    tx.execute(QUERIES["drop_tables"])
    tx.execute(QUERIES["forget_metrics"], asked)
    tx.execute(QUERIES["make_due"], asked)
    tx.execute(text("ANALYZE fold_due"))


def fold_units(tx: Connection, experiment_ids: Sequence[str]) -> None:
    """Work out and keep the values of the units that changed: `fold_value`, `fold_change`."""
    tx.execute(QUERIES["make_units"])
    stale = tx.execute(QUERIES["take_units"], {"experiment_ids": list(experiment_ids)}).rowcount
    due = tx.execute(QUERIES["read_due"]).all()
    tx.execute(text("ANALYZE fold_unit"))
    layers = _layers([row for row in due if row.is_full])
    for number, layer in enumerate(layers):
        tx.execute(text((_ADD if number else _CREATE) + _all_values(layer)), _columns(layer))
    if layers:
        tx.execute(QUERIES["drop_all_values"])
        tx.execute(QUERIES["keep_all_values"])
    if stale or not layers:
        tx.execute(text((_ADD if layers else _CREATE) + _stale_values(due)))
        tx.execute(text("ANALYZE fold_value"))
    tx.execute(MAKE_CHANGE)
    tx.execute(QUERIES["mark_whole"])
    if stale:
        tx.execute(QUERIES["drop_gone_values"])
        tx.execute(QUERIES["keep_changed_values"])
    tx.execute(QUERIES["freeze_caps"])


def keep_moments(tx: Connection) -> None:
    """Write the moments of `fold_due`: moved by what changed, or made anew."""
    tx.execute(QUERIES["drop_moments"])
    tx.execute(KEEP_WHOLE_MOMENTS)
    tx.execute(QUERIES["keep_changed_moments"])
    tx.execute(QUERIES["keep_aggregates"])
    tx.execute(QUERIES["keep_empty_arms"])
    tx.execute(QUERIES["keep_state"])


def _layers(due: Sequence[Row[Any]]) -> list[list[Row[Any]]]:
    """The first metric of each experiment, then the second ones, and so on."""
    layers: list[list[Row[Any]]] = []
    seen: Counter[str] = Counter()
    for row in due:
        if seen[row.experiment_id] == len(layers):
            layers.append([])
        layers[seen[row.experiment_id]].append(row)
        seen[row.experiment_id] += 1
    return layers


def _columns(due: Sequence[Row[Any]]) -> dict[str, list[Any]]:
    return {
        "numbers": [row.number for row in due],
        "experiment_ids": [row.experiment_id for row in due],
        "event_types": [row.event_type for row in due],
        "aggregations": [row.aggregation for row in due],
        "opens_after": [row.opens_after for row in due],
        "closes_after": [row.closes_after for row in due],
    }


def _fill(name: str, **fragments: str) -> str:
    """A named query with its fragments, `{units}`, filled in."""
    filled = QUERIES[name].text
    for fragment, sql in fragments.items():
        filled = filled.replace("{" + fragment + "}", sql)
    return filled


def _all_values(due: Sequence[Row[Any]]) -> str:
    """The values of all units of a layer: a unit is in it once."""
    is_one_type = len({row.event_type for row in due}) == 1
    event_type = QUERIES["one_event_type"].text if is_one_type else "d.event_type"
    number = {"number": "min(d.number)", "key": "a.id"}
    return _values(due, units=QUERIES["all_units"].text, event_type=event_type, **number)


def _stale_values(due: Sequence[Row[Any]]) -> str:
    number = {"number": "d.number", "key": "d.number, a.id"}
    return _values(due, units=QUERIES["stale_units"].text, event_type="d.event_type", **number)


def _values(due: Sequence[Row[Any]], **fragments: str) -> str:
    """The statement that works values out, by the aggregations that are needed and no others."""
    aggregations = sorted({row.aggregation for row in due})
    denominators = sorted({row.denominator_aggregation for row in due})
    window = "in_window" if any(row.has_window for row in due) else "from_assignment"
    has_attributes = any(row.has_attributes for row in due)
    return _fill(
        "make_values",
        **fragments,
        metadata="a.metadata" if has_attributes else "CAST(NULL AS jsonb)",
        value=_value_by("d.aggregation", aggregations),
        denominator=_value_by("d.denominator_aggregation", denominators),
        covariate=_value_by("d.aggregation", aggregations),
        usable=_USABLE,
        window=QUERIES[window].text,
    )


def _value_by(column: str, aggregations: Sequence[str]) -> str:
    if len(aggregations) < 2:
        conditions = dict.fromkeys(aggregations or ["count"], _USABLE)
    else:
        conditions = {name: f"{column} = '{name}' AND {_USABLE}" for name in aggregations}
    values = [
        _fill(f"value_by_{name}", condition=condition) for name, condition in conditions.items()
    ]
    return f"COALESCE({', '.join(values)})"


_CREATE = "CREATE TEMPORARY TABLE fold_value ON COMMIT DROP AS "
_ADD = "INSERT INTO fold_value "
MAKE_CHANGE: TextClause = text(_fill("make_change", moments=QUERIES["moments"].text))
KEEP_WHOLE_MOMENTS: TextClause = text(_fill("keep_whole_moments", moments=QUERIES["moments"].text))
