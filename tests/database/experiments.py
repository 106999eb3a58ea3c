"""Experiments for tests: a plan, a file of rows, a run of the ledger's own."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks import ledger
from tasks.database import control_engine
from tasks.experiments import steps
from tasks.experiments.analysis.reading import with_looks, with_verdicts
from tasks.experiments.analysis.results import Analysis
from tasks.experiments.definition.plan import ExperimentPlan
from tasks.experiments.folding.folding import fold
from tasks.experiments.ingestion.files import scan_file
from tasks.experiments.ingestion.results import Ingested, IngestedBatch
from tasks.experiments.quality.model import SuiteFindings

PASSED = SuiteFindings()
DAY = "2026-01-0"


@contextmanager
def new_run() -> Iterator[str]:
    """Another run: steps of scope `run` are done again."""
    run = ledger.RunInfo(id=str(uuid.uuid4()), flow="test", entrypoint="tests:test", mode="ledger")
    with ledger.in_run(run):
        yield run.id


def plan(**changes: Any) -> ExperimentPlan:
    """Two arms, half each, the mean of what is spent."""
    fields: dict[str, Any] = {
        "name": "buttons",
        "variants": [
            {"name": "control", "weight": 0.5, "is_control": True},
            {"name": "red", "weight": 0.5},
        ],
        "metric": metric(),
        "planned_sample_size": 400,
        "minimum_sample_size": 10,
    }
    return ExperimentPlan.model_validate(fields | changes)


def metric(**changes: Any) -> dict[str, Any]:
    """What is spent in all, by those who spent something."""
    fields = {
        "name": "spend",
        "kind": "mean",
        "event_type": "buy",
        "aggregation": "sum",
        "missing": "exclude",
    }
    return fields | changes


def assignment(user: str, variant: str, **changes: Any) -> dict[str, Any]:
    """One row that assigns a unit."""
    row = {"experiment": "buttons", "user_id": user, "variant": variant}
    return row | {"assigned_at": f"{DAY}1T00:00:00Z"} | changes


def event(user: str, value: float | None, event_id: str = "", **changes: Any) -> dict[str, Any]:
    """One row of what a unit did."""
    row = {"experiment": "buttons", "user_id": user, "event_type": "buy", "event_value": value}
    return row | {"event_timestamp": f"{DAY}2T00:00:00Z", "event_id": event_id} | changes


def arms(control: Sequence[float], red: Sequence[float], start: int = 0) -> list[dict[str, Any]]:
    """Rows for two arms whose units spent these sums; units are numbered from ``start``."""
    rows = []
    for name, values in (("control", control), ("red", red)):
        for number, value in enumerate(values, start):
            user = f"{name}-{number}"
            rows += [assignment(user, name), event(user, value, f"e-{user}")]
    return rows


def load(
    folder: Path, rows: Sequence[dict[str, Any]], batch_size: int = 1000, name: str = "rows"
) -> Ingested:
    """Write the rows as JSON lines and ingest them in a run of its own."""
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return load_file(path, batch_size)


def load_file(path: Path, batch_size: int = 1000) -> Ingested:
    """Ingest a file in a run of its own."""
    scan = scan_file(str(path), batch_size)
    with new_run() as run_id:
        batches = [
            steps.ingest_batch(path=str(path), sha256=scan.sha256, batch=batch)
            for batch in scan.batches
        ]
    return Ingested.of(str(path), batches, run_id)


def tell(folder: Path, *rows: dict[str, Any]) -> IngestedBatch:
    """Load statistics that somebody else aggregated, in a run of its own."""
    path = folder / "statistics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    scan = scan_file(str(path), 1000)
    with new_run():
        return steps.ingest_statistics(path=str(path), sha256=scan.sha256, batch=scan.batches[0])


def start(**changes: Any) -> str:
    """Start an experiment; returns its id."""
    with new_run():
        return steps.create_experiment(plan=plan(**changes), is_started=True).id


def fold_now(experiment_id: str) -> None:
    """Bring the sufficient statistics of an experiment up to date."""
    with control_engine().begin() as tx:
        fold(tx, [experiment_id])


def look(experiment_id: str, suites: SuiteFindings = PASSED) -> Analysis:
    """Fold and look at an experiment in a run of its own; the analysis as the reports see it."""
    fold_now(experiment_id)
    with new_run():
        (found,) = steps.analyze_batch(experiment_ids=[experiment_id], suites=suites)
    with control_engine().connect() as connection:
        (shown,) = with_verdicts(connection, [found])
        return shown if shown.is_skipped else with_looks(connection, [shown])[0]
