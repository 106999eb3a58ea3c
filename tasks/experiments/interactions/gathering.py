"""Read which experiments overlap, and how their arms meet: a few rows a pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.experiments.interactions.model import Cell, MeasuredCells, Met, SharedUnits

QUERIES = load_queries(__package__)
COUNTED_UNITS = 250_000
"""Of all experiments together: where there are more, overlaps are counted in a sample."""


class OverlappingPairs(BaseModel):
    """The pairs to look at, each as both ids with a colon between; and how many pairs there are."""

    model_config = ConfigDict(frozen=True)

    pairs: tuple[str, ...]
    overlapping: int


def overlapping_pairs(tx: Connection, most: int) -> OverlappingPairs:
    """The pairs of active experiments that share the most units, at most so many."""
    asked = {"most": most, "counted_units": COUNTED_UNITS}
    rows = tx.execute(QUERIES["overlapping_pairs"], asked).all()
    return OverlappingPairs(
        pairs=tuple(f"{row.first_id}:{row.second_id}" for row in rows),
        overlapping=rows[0].overlapping if rows else 0,
    )


def shared_units(tx: Connection, pairs: Sequence[str]) -> list[SharedUnits]:
    """How the arms of each pair meet, with the moments of both primary metrics as last folded.

    A pair without a unit in common any more, or whose experiment is gone, is left out.
    """
    ids = [pair.split(":") for pair in pairs]
    known = {
        row.id: row
        for row in tx.execute(
            QUERIES["measured_experiments"],
            {"experiment_ids": sorted({each for both in ids for each in both})},
        )
    }
    asked = {"first_ids": [one for one, _ in ids], "second_ids": [other for _, other in ids]}
    rows = tx.execute(QUERIES["shared_cells"], asked).all()
    return [
        _shared(known, ids[number - 1], list(group))
        for number, group in groupby(rows, key=lambda row: row.number)
    ]


def _shared(known: Mapping[str, Any], ids: Sequence[str], rows: Sequence[Any]) -> SharedUnits:
    first, second = known[ids[0]], known[ids[1]]
    return SharedUnits(
        first=first.name,
        second=second.name,
        first_arms=tuple(first.arms),
        second_arms=tuple(second.arms),
        met=tuple(
            Met(first_arm=row.first_arm, second_arm=row.second_arm, units=row.units) for row in rows
        ),
        measured=(_cells(first, rows, "first_cell"), _cells(second, rows, "second_cell")),
        moved=tuple(each.name for each in (first, second) if each.is_moved),
    )


def _cells(experiment: Any, rows: Sequence[Any], column: str) -> MeasuredCells:
    return MeasuredCells(
        experiment=experiment.name,
        metric=experiment.metric,
        kind=experiment.kind,
        cells=tuple(_cell(row, getattr(row, column), experiment.has_denominator) for row in rows),
    )


def _cell(row: Any, figures: dict[str, Any], has_denominator: bool) -> Cell:
    told = figures if has_denominator else {**figures, "denominator": None}
    return Cell(first_arm=row.first_arm, second_arm=row.second_arm, **told)
