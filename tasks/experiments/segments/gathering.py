"""Read an experiment's segments: what was folded by level, a few rows whatever the units."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, text

from tasks.database import load_queries
from tasks.errors import NotFound
from tasks.experiments.analysis.epochs import cell_of, epochs_of
from tasks.experiments.segments.effects import segments_of
from tasks.experiments.segments.estimates import why_not
from tasks.experiments.segments.evidence import (
    SegmentCell,
    SegmentEpochs,
    SegmentEvidence,
    Segments,
)

QUERIES = load_queries(__package__)
_MOMENTS = load_queries("tasks.experiments.folding", "fold.sql")["moments"].text
EPOCHS = text(QUERIES["segment_epochs"].text.replace("{moments}", _MOMENTS))
_NO_DIMENSIONS = "the plan names no dimensions"
_NO_CONTROL = "it has no control"
_NOT_FOLDED = "its statistics have not been worked out yet"
_NO_LEVELS = "no unit has a level: statistics of others come without them"


def read_segments(connection: Connection, name: str) -> Segments:
    """Compare the arms within every level, and the levels; NotFound where nothing is so called."""
    head = connection.execute(QUERIES["segmented_experiment"], {"name": name}).first()
    if head is None:
        raise NotFound(f"no experiment is called {name!r}; `headway experiment list` lists them")
    rows = connection.execute(QUERIES["segment_cells"], {"experiment_id": head.id}).all()
    by_metric = (list(group) for _, group in groupby(rows, key=lambda row: row.metric))
    found = [_evidence(head, group) for group in by_metric]
    if head.has_moved:
        found = _within_epochs(connection, head, found)
    return Segments(
        experiment=head.name,
        as_of=head.now,
        dimensions=tuple(head.dimensions),
        metrics=tuple(map(segments_of, found)),
        cut_out=tuple(head.cut_out),
    )


def _within_epochs(
    connection: Connection, head: Any, found: Sequence[SegmentEvidence]
) -> list[SegmentEvidence]:
    """The evidence, with who came into each level while each split held: of single units."""
    asked = [each.metric for each in found if not each.problem]
    connection.execute(QUERIES["room_to_hash"])
    rows = connection.execute(EPOCHS, {"experiment_id": head.id, "metrics": asked})
    epochs = {
        metric: tuple(
            SegmentEpochs(dimension=dimension, level=level, epochs=epochs_of(cells))
            for (dimension, level), cells in groupby(group, lambda row: (row.dimension, row.level))
        )
        for metric, group in groupby(rows, key=lambda row: row.metric)
    }
    return [
        each.model_copy(update={"epochs": epochs.get(each.metric, ())})
        if each.problem or each.metric in epochs
        else each.model_copy(update={"problem": _NO_LEVELS})
        for each in found
    ]


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
    return why_not(rows[0].kind)
