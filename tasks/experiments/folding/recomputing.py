"""Prove the folded statistics: work everything out again from the raw events, by other queries."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel
from sqlalchemy import Connection, text

from tasks.database import load_queries
from tasks.experiments.folding import folding

QUERIES = load_queries(__package__, "recompute.sql")

TOLERANCE = 1e-9
"""Relative difference up to which two ways to add the same doubles agree."""


class Difference(BaseModel, frozen=True):
    """One statistic of one arm that was folded wrong; `folded` is what it was."""

    experiment: str
    metric: str
    variant: str
    dimension: str
    level: str
    statistic: str
    folded: float
    actual: float
    gap: float | None

    def __str__(self) -> str:
        place = f"{self.variant}, {self.dimension} {self.level}" if self.dimension else self.variant
        return f"{self.statistic} of {place} was {self.folded:.12g}, is {self.actual:.12g}"


def recompute(tx: Connection, experiment_ids: Sequence[str]) -> list[Difference]:
    """Fold some experiments, then compare with a full recompute and write down what is right.

    The caps of the day stay as they are. Returns what differed: empty if the folding is right.
    """
    folding.fold(tx, experiment_ids)
    tx.execute(MAKE_TRUTH)
    tx.execute(text("ANALYZE fold_truth"))
    tx.execute(QUERIES["make_gaps"])
    rows = tx.execute(QUERIES["differences"], {"tolerance": TOLERANCE}).all()
    tx.execute(QUERIES["drop_false_values"])
    tx.execute(QUERIES["keep_true_values"], {"tolerance": TOLERANCE})
    tx.execute(QUERIES["mark_all_whole"])
    folding.keep_moments(tx)
    tx.execute(QUERIES["record_recompute"])
    return [Difference.model_validate(row._asdict()) for row in rows]


def _value(seen: str, aggregation: str) -> str:
    filled = QUERIES["value_of_array"].text.replace("{seen}", seen)
    return filled.replace("{aggregation}", f"CAST({aggregation} AS text)")


MAKE_TRUTH = text(
    QUERIES["make_truth"]
    .text.replace("{value}", _value("t.value_seen", "t.aggregation"))
    .replace("{denominator}", _value("t.denominator_seen", "t.denominator_aggregation"))
    .replace("{covariate}", _value("t.covariate_seen", "t.aggregation"))
)
