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

# Larger values have no square that a double can hold; NaN is larger than any. None is no number.
_USABLE = "abs(m.event_value) <= 1e140"
_COUNTED = f"({_USABLE}) IS NOT FALSE"
_UNUSABLE = "abs(m.event_value) > 1e140"

# What not every metric has. Where none has it, Postgres is told so, and leaves its part out.
_OPTIONAL = {
    "closes_after": "interval",
    "denominator_event_type": "text",
    "covariate_before": "interval",
    "covariate_attribute": "text",
    "dimensions": "text[]",
}
_LOOKED_UP = {"denominator_event_type", "covariate_before", "covariate_attribute"}
_FROM_METADATA = {"covariate_attribute", "dimensions"}


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
        tx.execute(text("ANALYZE fold_value (number, assignment_id)"))
    tx.execute(QUERIES["make_old"])
    tx.execute(MAKE_CHANGE)
    tx.execute(QUERIES["mark_whole"])
    if stale:
        tx.execute(QUERIES["drop_gone_values"])
        tx.execute(QUERIES["keep_changed_values"])
        tx.execute(QUERIES["keep_new_values"])
    tx.execute(QUERIES["freeze_caps"])


def keep_moments(tx: Connection) -> None:
    """Write the moments of `fold_due`: moved by what changed, or made anew."""
    tx.execute(QUERIES["drop_moments"])
    whole = tx.execute(QUERIES["count_whole"]).one()
    if whole.is_at_hand:
        tx.execute(KEEP_MOMENTS_AT_HAND)
    if whole.is_kept:
        tx.execute(KEEP_MOMENTS_OF_ALL)
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
    is_alike = is_one_type and len({row.aggregation for row in due}) == 1
    is_alike = is_alike and not any(row.has_window for row in due)
    return _values(
        due,
        units=QUERIES["all_units_alike" if is_alike else "all_units"].text,
        these=QUERIES["units_of_all"].text,
        event_type=QUERIES["one_event_type"].text if is_one_type else "d.event_type",
        key="a.id",
        metric=QUERIES["metric_of_all"].text,
    )


def _stale_values(due: Sequence[Row[Any]]) -> str:
    return _values(
        due,
        units=QUERIES["stale_units"].text,
        these="true",
        event_type="d.event_type",
        key="d.number, a.id",
        metric=QUERIES["metric_of_stale"].text,
    )


def _values(due: Sequence[Row[Any]], **fragments: str) -> str:
    """The statement that works values out, by what the metrics use and nothing else."""
    aggregations = sorted({row.aggregation for row in due})
    denominators = sorted({row.denominator_aggregation for row in due})
    window = "in_window" if any(row.has_window for row in due) else "from_assignment"
    used = {column for row in due for column in row.uses}
    columns = {
        column: f"d.{column}" if column in used else f"CAST(NULL AS {kind})"
        for column, kind in _OPTIONAL.items()
    }
    return _fill(
        "make_values",
        **fragments,
        **columns,
        fence=QUERIES["looked_up_once"].text if used & _LOOKED_UP else "",
        metadata="a.metadata" if used & _FROM_METADATA else "CAST(NULL AS jsonb)",
        value=_value_by("d.aggregation", aggregations),
        denominator=_value_by("d.denominator_aggregation", denominators),
        covariate=_value_by("d.aggregation", aggregations),
        unusable=_UNUSABLE,
        window=QUERIES[window].text,
    )


def _value_by(column: str, aggregations: Sequence[str]) -> str:
    conditions = {
        name: _COUNTED if name in ("count", "any") else _USABLE
        for name in aggregations or ["count"]
    }
    if len(conditions) > 1:
        conditions = {
            name: f"{column} = '{name}' AND {condition}" for name, condition in conditions.items()
        }
    values = [
        _fill(f"value_by_{name}", condition=condition) for name, condition in conditions.items()
    ]
    return f"COALESCE({', '.join(values)})"


def _whole_moments(**fragments: str) -> str:
    filled = {fragment: QUERIES[name].text for fragment, name in fragments.items()}
    return _fill("keep_whole_moments", moments=QUERIES["moments"].text, **filled)


_CREATE = "CREATE TEMPORARY TABLE fold_value ON COMMIT DROP AS "
_ADD = "INSERT INTO fold_value "
MAKE_CHANGE: TextClause = text(_fill("make_change", moments=QUERIES["moments"].text))
KEEP_MOMENTS_AT_HAND: TextClause = text(
    _whole_moments(values="values_at_hand", asked="folded_in_full")
)
KEEP_MOMENTS_OF_ALL: TextClause = text(_whole_moments(values="values_kept", asked="made_anew"))
