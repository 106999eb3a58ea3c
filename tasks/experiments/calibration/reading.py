"""Read what calibrations found."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.experiments.calibration.results import Calibration

QUERIES = load_queries(__package__)


def read_calibrations(
    connection: Connection, experiment: str | None = None, ids: Sequence[int] | None = None
) -> list[Calibration]:
    """The latest calibration of each metric, the broken ones first.

    Args:
        connection: to read with.
        experiment: only its metrics.
        ids: only these calibrations.
    """
    asked = {"experiment": experiment, "ids": None if ids is None else list(ids)}
    rows = connection.execute(QUERIES["latest"], asked).mappings()
    return [Calibration.model_validate(dict(row)) for row in rows]
