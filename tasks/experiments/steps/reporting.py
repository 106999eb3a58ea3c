"""Steps of reports: which experiments a run reports."""

from __future__ import annotations

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import NotFound
from tasks.ledger import step

QUERIES = load_queries("tasks.experiments.reporting")


@step(key="{experiment}")
def list_reported_experiments(tx: Connection, experiment: str | None = None) -> list[str]:
    """Name what to report: all that run or pause or ended within a day, or the one that is asked.

    Kept with the run, so that one that died reports the same experiments when it goes on.
    """
    if experiment is None:
        return list(tx.scalars(QUERIES["reported_experiments"]))
    if not tx.scalar(QUERIES["is_experiment"], {"name": experiment}):
        raise NotFound(f"no experiment is called {experiment!r}; `headway experiment list`")
    return [experiment]
