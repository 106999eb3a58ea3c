"""What somebody else aggregated, and no units can have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.database.experiments import metric, start, tell
from tests.rows import rows_of

RATE = metric(name="bought", kind="proportion", aggregation="any", missing="zero")
SPEND = metric()
ORDERS = metric(name="orders", kind="count", aggregation="count", missing="zero")
QUANTILE = metric(name="slow", kind="quantile", quantile=0.9)
RATIO = metric(
    name="per", kind="ratio", denominator_event_type="visit", denominator_aggregation="count"
)
FALSE: dict[str, tuple[dict[str, Any], list[tuple[dict[str, Any], str]]]] = {
    "rate": (
        RATE,
        [
            ({"n": 100, "mean": 3.7, "variance": 2.5}, "impossible-mean"),
            ({"n": 100, "mean": -0.1, "variance": 0.1}, "impossible-mean"),
            ({"n": 100, "mean": 0.5, "variance": 2.5}, "impossible-variance"),
            ({"n": 100, "mean": 0.5, "variance": 0.0}, "impossible-variance"),
            ({"n": 1_000_000, "mean": 0.001, "m2": 1_050}, "impossible-variance"),
            ({"n": 101, "assigned": 100, "mean": 0.5, "variance": 0.25}, "bad-number"),
        ],
    ),
    "count": (
        ORDERS,
        [
            ({"n": 100, "mean": -2, "variance": 1}, "impossible-mean"),
            ({"n": 100, "mean": 2.5, "variance": 0.1}, "impossible-variance"),
        ],
    ),
    "mean": (
        SPEND,
        [
            ({"n": 100, "mean": -2, "variance": -1}, "bad-number"),
            ({"n": 1, "mean": 2, "variance": -1}, "bad-number"),
            ({"n": 1, "mean": 2, "m2": 1}, "bad-number"),
        ],
    ),
    "quantile": (QUANTILE, [({"n": 100, "mean": 2, "variance": 1}, "not-aggregable")]),
    "ratio": (RATIO, [({"n": 100, "mean": 2, "variance": 1}, "not-aggregable")]),
}
TRUE: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "rate": (
        RATE,
        [
            {"n": 10, "mean": 0.5, "variance": 0.25},  # over n instead of n - 1
            {"n": 1000, "mean": 0.1234, "variance": 0.108},  # rounded
            {"n": 1_000_000, "mean": 0.001, "variance": 0.001},
            {"n": 0, "assigned": 12},
            {"n": 1, "mean": 1},
        ],
    ),
    "count": (
        ORDERS,
        [
            {"n": 100, "mean": 2.5, "variance": 0.253},
            {"n": 100, "mean": 2.0, "variance": 0},
        ],
    ),
    "mean": (SPEND, [{"n": 100, "mean": -2.5, "variance": 1000}]),
}


def _rows(measured: dict[str, Any], figures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A day for each, so that none replaces another."""
    about = {"experiment": "buttons", "metric": measured["name"], "variant": "red"}
    return [
        about | {"observed_at": f"2026-01-{day:02}"} | row for day, row in enumerate(figures, 1)
    ]


@pytest.mark.parametrize("kind", list(FALSE))
def test_figures_that_no_units_have_are_rejected(
    database: Engine, tmp_path: Path, kind: str
) -> None:
    measured, figures = FALSE[kind]
    start(metric=measured)
    tell(tmp_path, *_rows(measured, [row for row, _ in figures]))
    found = rows_of(database, "SELECT reason_code FROM rejected_row ORDER BY line_number")
    assert [code for (code,) in found] == [code for _, code in figures]
    assert rows_of(database, "SELECT 1 FROM aggregate_statistic") == []


@pytest.mark.parametrize("kind", list(TRUE))
def test_figures_that_units_can_have_are_taken(database: Engine, tmp_path: Path, kind: str) -> None:
    measured, figures = TRUE[kind]
    start(metric=measured)
    loaded = tell(tmp_path, *_rows(measured, figures))
    assert (loaded.statistics, loaded.rejected) == (len(figures), 0)
