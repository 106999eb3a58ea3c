"""Read an experiment's segments: what was folded by level, a few rows whatever the units."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import NotFound
from tasks.experiments.analysis.epochs import cell_of
from tasks.experiments.segments.effects import segments_of
from tasks.experiments.segments.evidence import SegmentCell, SegmentEvidence, Segments

QUERIES = load_queries(__package__)
_NO_DIMENSIONS = "the plan names no dimensions"
_NO_CONTROL = "it has no control"
_NOT_FOLDED = "its statistics have not been worked out yet"
_NO_LEVELS = "no unit has a level: statistics of others come without them"
_MOVED = (
    "the split has moved, so that the arms' units came at different times; what came in which "
    "split is not kept by level"
)


def read_segments(connection: Connection, name: str) -> Segments:
    """Compare the arms within every level, and the levels; NotFound where nothing is so called."""
    head = connection.execute(QUERIES["segmented_experiment"], {"name": name}).first()
    if head is None:
        raise NotFound(f"no experiment is called {name!r}; `headway experiment list` lists them")
    rows = connection.execute(QUERIES["segment_cells"], {"experiment_id": head.id}).all()
    by_metric = (list(group) for _, group in groupby(rows, key=lambda row: row.metric))
    return Segments(
        experiment=head.name,
        as_of=head.now,
        dimensions=tuple(head.dimensions),
        metrics=tuple(segments_of(_evidence(head, group)) for group in by_metric),
        cut_out=tuple(head.cut_out),
    )


def _evidence(head: Any, rows: Sequence[Any]) -> SegmentEvidence:
    first = rows[0]
    arms = [*dict.fromkeys(row.arm for row in rows)]  # the control first
    return SegmentEvidence(
        metric=first.metric,
        role=first.role,
        kind=first.kind,
        alpha=first.alpha,
        is_higher_better=first.is_higher_better,
        control=arms[0],
        treatments=tuple(arms[1:]),
        cells=tuple(
            SegmentCell(dimension=row.dimension, level=row.level, arm=row.arm, cell=cell_of(row))
            for row in rows
            if row.dimension is not None
        ),
        problem=_problem(head, rows),
    )


def _problem(head: Any, rows: Sequence[Any]) -> str:
    """Why the levels cannot be compared; empty where they can."""
    if not head.dimensions:
        return _NO_DIMENSIONS
    if not rows[0].is_control:
        return _NO_CONTROL
    if not rows[0].is_folded:
        return _NOT_FOLDED
    if all(row.dimension is None for row in rows):
        return _NO_LEVELS
    return _MOVED if head.has_moved else ""
