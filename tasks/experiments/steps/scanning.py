"""Steps of the scan for interactions between experiments."""

from __future__ import annotations

import hashlib

from sqlalchemy import Connection

from tasks.experiments.interactions import gathering, scanning
from tasks.experiments.interactions.gathering import OverlappingPairs
from tasks.experiments.interactions.model import SharedUnits
from tasks.experiments.interactions.scanning import InteractionScan
from tasks.ledger import step, step_logger


@step(key="{most}")
def list_overlapping_pairs(tx: Connection, most: int) -> OverlappingPairs:
    """List the pairs of running experiments that share units, those with the most first."""
    return gathering.overlapping_pairs(tx, most)


def _of_pairs(pairs: list[str]) -> str:
    if len(pairs) == 1:
        return pairs[0]
    return f"{len(pairs)}:{hashlib.sha256(' '.join(pairs).encode()).hexdigest()[:16]}"


@step(key=_of_pairs)
def measure_overlaps(tx: Connection, pairs: list[str]) -> list[SharedUnits]:
    """Count how the arms of some pairs meet, with the primary metrics of both; writes nothing."""
    return gathering.shared_units(tx, pairs)


@step(key="all")
def judge_interactions(
    tx: Connection, overlapping: int, shared: list[SharedUnits]
) -> InteractionScan:
    """Judge all pairs together, record it, and open an alert for each that interacts."""
    found = scanning.record_scan(tx, overlapping, shared)
    step_logger().info("%s", found.summary)
    return found
