"""Experiments on the same units: look for pairs that change each other's effects."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flows.artifacts import publish_report, publish_table
from flows.batches import failures_of, in_batches
from flows.notify import send_unsent
from flows.pipeline import pipeline
from tasks.errors import ItemsFailed
from tasks.experiments import steps
from tasks.experiments.interactions.scanning import InteractionScan

BATCH = 10


@pipeline(name="scan-interactions")
def scan_interactions(most: Annotated[int, Field(ge=1, le=1000)] = 50) -> InteractionScan:
    """Look at running experiments that share units: does one change what the other does?

    For each pair the units of both are counted by the arms they got in each, with the primary
    metric of either, as last folded. Effects that do not add up, and arms that go together by a
    rule, open an alert; it is closed when they add up again or one of the two ends. Pairs that
    could not be read are named at the end, and stop no other.

    Args:
        most: pairs to look at, those that share the most units; how many were left out is said.
    """
    found = steps.list_overlapping_pairs(most=most)
    shared, failed = in_batches(steps.measure_overlaps, list(found.pairs), BATCH, parameter="pairs")
    scan = steps.judge_interactions(overlapping=found.overlapping, shared=shared)
    publish_report("interactions", scan.as_markdown())
    publish_table("scan-interactions", scan.csv_rows())
    send_unsent()
    if failed:
        raise ItemsFailed("pairs of experiments", failures_of(failed))
    return scan
