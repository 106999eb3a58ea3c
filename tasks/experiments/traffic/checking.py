"""What the analysis of this hour found in the experiment tables, so that nobody looks twice."""

from __future__ import annotations

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.experiments.quality.model import SuiteFindings

QUERIES = load_queries(__package__)


def last_findings(tx: Connection) -> SuiteFindings | None:
    """What the suites found within the last half hour; None where they were not run.

    An analysis runs them minutes before bandits are updated, and they take longer than that. The
    checks of each experiment's own figures are made anew at every update.
    """
    row = tx.execute(QUERIES["last_data_checks"]).first()
    return None if row is None else SuiteFindings.model_validate(row.output)
