"""Quantiles of values, in the place of their means."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Connection

from tasks.experiments.folding.reading import OrderStatistics, order_statistics
from tasks.experiments.statistics.quantiles import quantile_estimate


def with_quantiles(tx: Connection, rows: Sequence[Any]) -> list[Any]:
    """The rows of arms by metric; those of a quantile say the quantile as mean, and its variance.

    They cannot be kept as moments, so each such metric takes two statements of its own.
    """
    filled: list[Any] = []
    for (experiment_id, metric_id), group in groupby(
        rows, lambda r: (r.experiment_id, r.metric_id)
    ):
        arms = list(group)
        level = arms[0].quantile
        if level is not None:
            found = order_statistics(tx, str(experiment_id), str(metric_id), level)
            arms = [_filled(arm, found.get(str(arm.variant_id))) for arm in arms]
        filled += arms
    return filled


def _filled(arm: Any, found: OrderStatistics | None) -> Any:
    row = SimpleNamespace(**arm._asdict())
    if arm.n is None or found is None:
        return row
    row.n, row.mean, row.m2 = found.n, found.value, 0.0
    if found.lower is None or found.upper is None:
        row.n = min(found.n, 1)  # too few values for an interval: its variance is unknown
    else:
        estimate = quantile_estimate(found.n, found.value, found.lower, found.upper)
        row.m2 = estimate.variance * (found.n - 1)
    return row
