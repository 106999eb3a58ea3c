"""The report of an experiment by days since exposure: does the effect last?"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from tasks.experiments.exposure.evidence import Novelty
from tasks.experiments.exposure.gathering import read_novelty
from tasks.experiments.reporting.exposure_days_page import page


class ExposureReport(Novelty):
    """An experiment by days since exposure, as a page or as rows."""

    def as_markdown(self) -> str:
        """What becomes of the effect, drawn and as a table."""
        return page(self)

    def csv_rows(self) -> list[dict[str, Any]]:
        """One row a day and arm, with what becomes of the arm's effect beside it."""
        outcomes = {trend.arm: trend for trend in self.trends}
        shared = {"experiment": self.experiment, "metric": self.metric, "kind": self.kind}
        return [
            shared | day.model_dump() | {"outcome": trend.outcome, "p_adjusted": trend.p_adjusted}
            for day in self.days
            for trend in [outcomes[day.arm]]
        ]


def read_exposure_report(
    connection: Connection, name: str, days: int | None = None
) -> ExposureReport:
    """Read an experiment by days since exposure; see `read_novelty`."""
    return ExposureReport(**dict(read_novelty(connection, name, days)))
