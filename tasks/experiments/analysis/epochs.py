"""Who came while each split held: what arms are compared within, where the split has moved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.experiments.decision.evidence import Cell, Epoch, Pair

QUERIES = load_queries(__package__)
Epochs = dict[tuple[UUID, UUID], tuple[Epoch, ...]]


def read_epochs(tx: Connection, experiment_ids: Sequence[str]) -> Epochs:
    """Epochs by experiment and metric, in order; only of experiments whose split has moved."""
    rows = tx.execute(QUERIES["epoch_cells"], {"experiment_ids": list(experiment_ids)})
    return {
        key: epochs_of(group)
        for key, group in groupby(rows, lambda row: (row.experiment_id, row.metric_id))
    }


def epochs_of(rows: Iterable[Any]) -> tuple[Epoch, ...]:
    """Epochs of one metric: from a row for each epoch and arm, in order of the epochs."""
    return tuple(_epoch(number, arms) for number, arms in groupby(rows, lambda row: row.epoch))


def _epoch(number: int, rows: Iterable[Any]) -> Epoch:
    arms = list(rows)
    return Epoch(
        number=number,
        traffic=sum(row.n for row in arms),
        arms={row.name: cell_of(row) if row.is_offered or row.n else None for row in arms},
    )


def cell_of(row: Any) -> Cell:
    """The moments of a row, with those of the second values that its metric has."""
    return Cell(
        n=row.n,
        mean=row.mean,
        m2=row.m2,
        denominator=pair_of(row, "denominator") if row.has_denominator else None,
        covariate=pair_of(row, "covariate") if row.has_covariate else None,
    )


def pair_of(row: Any, name: str) -> Pair:
    """The moments of one second value: `denominator` or `covariate`."""
    mean, m2, c2 = (getattr(row, f"{name}_{part}") for part in ("mean", "m2", "c2"))
    return Pair(mean=mean, m2=m2, c2=c2)
