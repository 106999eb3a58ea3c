"""A metric's units, reduced in Postgres to cells of units that are alike."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import NotFound

QUERIES = load_queries(__package__, "cells.sql")
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

EXACT = 4000
"""Up to so many values, counted in each look, all have cells of their own: nothing is rounded."""

SHARES = 120
"""Of the deviations, and of their squares, so many equal parts; of two values `PAIRED_SHARES`."""

PAIRED_SHARES = 12


@dataclass(frozen=True, slots=True)
class Counts:
    """Cells, one a row, in the order of the looks."""

    look: Ints  # from 0
    units: Ints
    has_value: NDArray[np.bool_]
    has_other: NDArray[np.bool_]


@dataclass(frozen=True)
class Cells:
    """Units by look and value: counts, and centred moments within each cell.

    ``other`` is the denominator or the covariate. Arrays have one element a cell.
    """

    looks: int
    commonest: int  # units that have the value of most of them
    counts: Counts
    mean: Floats
    m2: Floats
    other_mean: Floats
    other_m2: Floats
    co_m2: Floats

    @property
    def units(self) -> int:
        """Units over all cells."""
        return int(self.counts.units.sum())

    @cached_property
    def valued(self) -> int:
        """Units that have a value."""
        return int(self.counts.units[self.counts.has_value].sum())

    @property
    def unlike(self) -> int:
        """Units whose value is not the commonest one: on these the comparison rests."""
        return self.valued - self.commonest


def read_subject(tx: Connection, experiment_id: str, metric_id: str) -> Any:
    """The metric as its experiment compares it and decides by it; NotFound where it does not."""
    asked = {"experiment_id": experiment_id, "metric_id": metric_id}
    subject = tx.execute(QUERIES["subject"], asked).first()
    if subject is None:
        raise NotFound(f"metric {metric_id} is not one of experiment {experiment_id}")
    return subject


def read_cells(tx: Connection, subject: Any, looks: int) -> Cells:
    """Reduce the control's units to cells, in Postgres.

    Args:
        tx: the transaction.
        subject: the row of the metric.
        looks: into how many equal parts the units are divided, in the order in which they came.
    """
    tx.execute(QUERIES["make_room"])
    asked = {
        "experiment_id": subject.experiment_id,
        "metric_id": subject.metric_id,
        "control_id": subject.control_id,
        "cap": subject.cap,
        "second_value": subject.second_value,
        "looks": looks,
        "exact": EXACT,
        "shares": SHARES if subject.second_value is None else PAIRED_SHARES,
    }
    rows = tx.execute(QUERIES["cells"], asked).all()
    columns = list(zip(*rows, strict=True)) or [()] * 9
    look, units, has_value, has_other, *moments = columns
    counts = Counts(
        np.array(look, np.int64),
        np.array(units, np.int64),
        np.array(has_value, bool),
        np.array(has_other, bool),
    )
    commonest = tx.scalar(QUERIES["commonest"], asked)
    return Cells(looks, int(commonest), counts, *(np.array(each, float) for each in moments))
