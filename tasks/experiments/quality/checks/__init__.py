"""The checks that come with Headway; importing this package registers them."""

from tasks.experiments.quality.checks import (
    aggregates,
    calibration,
    events,
    freshness,
    missing,
    tables,
    traffic,
    units,
)

__all__ = [
    "aggregates",
    "calibration",
    "events",
    "freshness",
    "missing",
    "tables",
    "traffic",
    "units",
]
