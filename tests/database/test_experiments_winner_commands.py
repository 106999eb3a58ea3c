"""`headway experiment results | select-winner`, as a person types them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from flows.cli import main
from tests.database.experiments import arms, load, look, start

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
    assert headway("results", "buttons")[0] == 1
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
