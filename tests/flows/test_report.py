from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey
from sqlalchemy import Engine, text

from flows import report
from flows.cli import main
from flows.pipeline import run_by_ledger
from tasks.errors import ItemsFailed, NotFound
from tests.database.experiments import arms, load, look, plan, start

LOW = [10.0 + number % 7 for number in range(60)]
HIGH = [value + 4 for value in LOW]


def _artifact(key: str) -> str:
    async def read() -> Any:
        async with get_client() as client:
            wanted = ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=[key]))
            return (await client.read_latest_artifacts(artifact_filter=wanted))[0].data

    return str(asyncio.run(read()))


def test_a_run_leaves_the_dashboard_and_the_reports(database: Engine, tmp_path: Path) -> None:
    experiment = start()
    load(tmp_path, arms(LOW, HIGH))
    look(experiment)
    reported = report.report_experiments()
    assert reported.experiments == ("buttons",)
    assert "red beats control on spend" in _artifact("experiments-dashboard")
    page = _artifact("report-buttons")
    assert page.startswith("# buttons: completed, red wins")
    assert page.count("](data:image/svg+xml;base64,") == 3
    assert "## Over time since exposure" in page
    compared = _artifact("comparison-buttons")
    assert [f"{days} days to" in compared for days in (30, 60, 90)] == [True] * 3


def test_a_report_that_fails_stops_no_other(database: Engine) -> None:
    start(name="good", metric=plan().metric.model_dump())
    start(name="ruined")
    with database.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO headway.decision (rule, rule_version, subject, verdict, reasons, "
                "details, inputs) VALUES ('experiment-winner', 1, 'experiment:ruined', 'none', "
                "'[]', '{\"look_number\": \"three\"}', '{}')"
            )
        )
    with pytest.raises(
        ItemsFailed, match=r"ruined: InputError: decision \d+ cannot be read: look_number"
    ):
        report.report_experiments()
    assert _artifact("report-good").startswith("# good: active")
    assert "cannot be read: look_number" in _artifact("experiments-dashboard")


def test_only_one_experiment_can_be_asked_for(database: Engine) -> None:
    start()
    reported = run_by_ledger(report.report_experiments, {"experiment": "buttons"})
    assert reported.summary == "reported buttons"
    with pytest.raises(NotFound, match="no experiment is called 'x'"):
        report.report_experiments(experiment="x")


def test_reports_come_in_every_form_from_a_terminal(
    database: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = start()
    load(tmp_path, arms(LOW, HIGH))
    look(experiment)

    def said(*words: str) -> str:
        with pytest.raises(SystemExit) as exit_:
            main(["experiment", *words])
        assert exit_.value.code == 0
        return capsys.readouterr().out

    assert "buttons: completed, red wins" in said("report", "buttons")
    assert json.loads(said("report", "buttons", "--json"))["winner"] == "red"
    assert json.loads(said("dashboard", "--json"))["counts"]["completed"] == 1
    assert said("compare", "buttons", "--format", "csv").startswith("experiment,by,days,metric")
    file = tmp_path / "periods.json"
    said("compare", "buttons", "--by", "period", "--days", "60", "--json", "-o", str(file))
    assert json.loads(file.read_text("utf-8"))["days"] == 60
