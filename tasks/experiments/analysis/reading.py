"""Read what looks found: figures for the reports, the result for applications."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.decisions import Verdict
from tasks.errors import NotFound
from tasks.experiments.analysis.results import Analysis, PastLook

QUERIES = load_queries(__package__)


def with_verdicts(connection: Connection, analyses: Sequence[Analysis]) -> list[Analysis]:
    """The same with the verdicts as they were decided, in one statement."""
    ids = [each.decision_id for each in analyses if each.decision_id is not None]
    rows = connection.execute(QUERIES["verdicts"], {"decision_ids": ids}).all() if ids else []
    verdicts = {
        row.id: Verdict(verdict=row.verdict, reasons=row.reasons, details=row.details)
        for row in rows
    }
    return [
        each.model_copy(update={"verdict": verdicts.get(each.decision_id or 0)})
        for each in analyses
    ]


def with_looks(connection: Connection, analyses: Sequence[Analysis]) -> list[Analysis]:
    """The same with every look so far, in one statement."""
    looks = past_looks(connection, [each.experiment_id for each in analyses])
    return [
        each.model_copy(update={"looks": looks.get(each.experiment_id, ())}) for each in analyses
    ]


def past_looks(
    connection: Connection, experiment_ids: Sequence[str]
) -> dict[str, tuple[PastLook, ...]]:
    """Every look at the primary metrics, by experiment; one entry for each treatment."""
    asked = {"experiment_ids": list(experiment_ids)}
    rows = connection.execute(QUERIES["past_looks"], asked).mappings()
    return {
        experiment_id: tuple(PastLook.model_validate(dict(row)) for row in group)
        for experiment_id, group in groupby(rows, lambda row: row["experiment_id"])
    }


def latest_result(connection: Connection, name: str) -> dict[str, Any]:
    """What the last look found, in the shape that applications know; NotFound where none was."""
    row = connection.execute(QUERIES["latest_result"], {"name": name}).first()
    if row is None:
        raise NotFound(f"no experiment is called {name!r}")
    if row.result is None:
        raise NotFound(f"experiment {name!r} has not been analysed yet")
    return dict(row.result)
