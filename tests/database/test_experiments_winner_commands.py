"""`headway experiment results | select-winner`, as a person types them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from flows.cli import main
from tests.database.experiments import arms, assignment, event, load, look, start

WHO = ("--actor", "ada", "--reason", "a new colour")
LOW = [10.0 + number % 7 for number in range(100)]
HIGH = [value + 3 for value in LOW]
Call = Callable[..., tuple[int, Any]]


@pytest.fixture
def headway(
    database: Engine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Call]:
    """Run `headway experiment …`; returns the exit code and what it printed."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    monkeypatch.delenv("PREFECT_API_URL", raising=False)

    def call(*words: str) -> tuple[int, Any]:
        with pytest.raises(SystemExit) as ended:
            main(["experiment", *words])
        printed = capsys.readouterr()
        code = int(ended.value.code or 0)
        return code, json.loads(printed.out) if code == 0 and "--json" in words else printed

    with temporary_settings({PREFECT_API_URL: None}):
        yield call


def test_the_result_is_printed_as_applications_know_it_and_in_words(
    headway: Call, tmp_path: Path
) -> None:
    experiment = start(policy="recommend")
    assert headway("results", "buttons")[0] != 0
    load(tmp_path, arms(LOW, HIGH))
    look(experiment)
    code, result = headway("results", "buttons", "--json")
    assert (code, set(result)) == (
        0,
        {"experimentId", "results", "significance", "winner", "isSignificant"},
    )
    assert "winner: red; significance 1.0000" in headway("results", "buttons")[1].out


def test_a_person_selects_the_winner_that_was_decided_and_no_other_without_force(
    headway: Call, tmp_path: Path
) -> None:
    experiment = start(policy="recommend")
    load(tmp_path, arms(LOW, HIGH))
    look(experiment)
    code, printed = headway("select-winner", "buttons", "--variant", "control", *WHO)
    assert (code, "[not-the-winner]" in printed.err) == (3, True)
    assert "to choose one all the same" in printed.err
    assert "--variant control --force" in printed.err.replace("\n", " ")
    code, chosen = headway("select-winner", "buttons", *WHO, "--json")
    assert (code, chosen["result"]["winner"]) == (0, "red")


def _advised(headway: Call) -> str:
    code, shown = headway("dashboard", "--json")
    (row,) = shown["experiments"]
    assert code == 0
    return " ".join(row["next_steps"])


def test_the_dashboard_advises_a_recommended_winner_until_it_is_chosen(
    headway: Call, tmp_path: Path
) -> None:
    experiment = start(policy="recommend")
    load(tmp_path, arms(LOW, HIGH))
    look(experiment)
    agree = "`headway experiment select-winner buttons`"
    assert _advised(headway) == f"red is recommended: agree with {agree}."
    assert headway("complete", "buttons", *WHO)[0] == 0
    assert _advised(headway) == f"red is recommended: agree with {agree}."
    assert headway("select-winner", "buttons", *WHO)[0] == 0
    archive = "`headway experiment archive buttons`"
    assert _advised(headway) == f"red won: roll it out, then archive the experiment: {archive}."


def test_what_the_dashboard_advises_of_a_tie_can_be_done(headway: Call, tmp_path: Path) -> None:
    names = ("control", "red", "blue")
    variants = [{"name": n, "weight": 1 / 3, "is_control": n == "control"} for n in names]
    experiment = start(policy="recommend", variants=variants, planned_sample_size=300)
    blue = [
        row
        for number, value in enumerate(HIGH)
        for row in (assignment(f"b-{number}", "blue"), event(f"b-{number}", value, f"e-b{number}"))
    ]
    load(tmp_path, [*arms(LOW, HIGH), *blue])
    assert look(experiment).winner is None
    advised = _advised(headway)
    assert "keep the control" not in advised
    (words,) = [each for each in advised.split("`") if each.startswith("headway experiment ")]
    command = words.replace("NAME", "blue").split()[2:]
    assert command == ["select-winner", "buttons", "--variant", "blue", "--force"]
    assert headway(*command, *WHO)[0] == 0
    assert _advised(headway).startswith("blue won: roll it out")
