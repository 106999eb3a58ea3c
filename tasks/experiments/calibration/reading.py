"""Read what calibrations found."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import NotFound
from tasks.experiments.calibration.results import Calibration

QUERIES = load_queries(__package__)


def metrics_of(connection: Connection, experiment: str) -> list[str]:
    """The names of an experiment's metrics; raises NotFound where there is no such experiment."""
    found = connection.execute(QUERIES["metrics_of"], {"experiment": experiment}).first()
    if found is None:
        raise NotFound(f"no experiment is called {experiment!r}")
    return list(found.metrics)


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
