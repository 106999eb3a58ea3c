"""What a person gives that cannot be used ends with exit code 2, and one line says why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from prefect.client.schemas.objects import State
from prefect.states import Failed

from flows.execute import _failure
from tests.database.command_line import Call, headway_fixture
from tests.database.experiments import start
from tests.database.web import web_server

WHO = ("--actor", "ada", "--reason", "a new colour")
headway = headway_fixture()


@pytest.fixture(autouse=True)
def _folder_with_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tasks.retries.FIRST_DELAY_SECONDS", 0.001)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.toml").write_text('name = "x"', "utf-8")
    (tmp_path / "rows.csv").write_text("user_id\n", "utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("experiment", "create", "-f", "plan.toml", *WHO), "plan.toml"),
        (("experiment", "start", "x", "--actor", "ada", "--reason", ""), "reason: String should"),
        (("experiment", "ingest", "rows.csv", "--option", "nope=1"), "nope: Extra inputs"),
        (("experiment", "ingest", "--query", "drop table t", "--connection", "X"), "begins with"),
        (("experiment", "show", "nosuch"), "nosuch"),
        (("resume", "abc"), "not a run id"),
    ],
    ids=lambda given: " ".join(given[:2]) if isinstance(given, tuple) else None,
)
def test_what_cannot_be_used_ends_with_2_and_one_line(
    headway: Call, words: tuple[str, ...], message: str
) -> None:
    code, said = headway(*words)
    assert code == 2
    assert message in said
    assert len(said.strip().splitlines()) == 1
    assert "pydantic" not in said


def test_unusable_input_that_a_worker_found_is_told_by_its_message() -> None:
    said = "Flow run encountered an exception: NotFound: no experiment is called 'x'"
    found = _failure("report-experiments", Failed(message=said))
    assert (found.exit_code, str(found)) == (2, "no experiment is called 'x'")
    crashed: State[None] = Failed(
        message="Flow run encountered an exception: ValueError: NotFound: x"
    )
    assert _failure("report-experiments", crashed).exit_code == 1


def test_a_report_that_cannot_be_written_says_what_to_do(headway: Call) -> None:
    start()
    code, said = headway("experiment", "report", "buttons", "-o", "nosuch/report.md")
    assert code == 2
    assert "name a file in a folder that exists" in said


@pytest.mark.parametrize("indent", [None, 2])
def test_a_page_that_holds_its_rows_within_says_how_to_name_them(
    headway: Call, indent: int | None
) -> None:
    with web_server() as web:
        web.say("/events", json.dumps({"total": 1, "data": [{"user_id": "u1"}]}, indent=indent))
        code, said = headway("experiment", "ingest", "--url", f"{web.url}/events")
    assert code == 2
    assert "--option rows=/data" in said


def test_a_server_that_is_not_there_is_named_without_secrets(headway: Call) -> None:
    with web_server() as web:
        url = web.url
    code, said = headway("experiment", "ingest", "--url", f"{url}/events?token=hunter2")
    assert code == 1
    assert f"{url}/events cannot be read" in said
    assert "hunter2" not in said


def test_units_that_were_rejected_are_listed_with_line_and_reason(
    headway: Call, tmp_path: Path
) -> None:
    start()
    rows = "user_id\nu1\n" + f"{'x' * 300}\n" * 25
    (tmp_path / "units.csv").write_text(rows, "utf-8")
    code, said = headway("experiment", "assign", "buttons", "-f", "units.csv")
    assert code == 0
    assert "  line 3: " in said
    assert "  line 22: " in said
    assert "  line 23: " not in said
    assert "and 5 more" in said
