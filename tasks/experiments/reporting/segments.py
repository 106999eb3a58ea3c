"""The report of an experiment by segment: does the effect differ, and what is it in each level?"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from tasks.experiments.reporting.segments_page import page
from tasks.experiments.segments.evidence import MetricSegments, SegmentEffect, Segments
from tasks.experiments.segments.gathering import read_segments


class SegmentsReport(Segments):
    """An experiment by segment, as a page or as rows."""

    def as_markdown(self) -> str:
        """Tests, effects and a picture for each metric."""
        return page(self)

    def csv_rows(self) -> list[dict[str, Any]]:
        """One row a metric, dimension, level and arm, with the test of its dimension beside it."""
        return [_row(self, metric, effect) for metric in self.metrics for effect in metric.effects]


def read_segments_report(connection: Connection, name: str) -> SegmentsReport:
    """Read an experiment by segment; NotFound where nothing is so called."""
    return SegmentsReport(**dict(read_segments(connection, name)))


def _row(report: Segments, metric: MetricSegments, effect: SegmentEffect) -> dict[str, Any]:
    (test,) = (
        each
        for each in metric.tests
        if (each.dimension, each.arm) == (effect.dimension, effect.arm)
    )
    shared = {"experiment": report.experiment, "metric": metric.metric, "role": metric.role}
    tested = {"finding": test.finding, "q": test.q, "q_p_adjusted": test.p_adjusted}
    return shared | {"kind": metric.kind} | effect.model_dump() | tested
