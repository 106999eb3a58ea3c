"""The commands that show layers: `headway layer list | show`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import Engine

from flows.cli import main
from tasks.experiments.assignment.assigning import get_variant
from tests.database.layered import make


@pytest.fixture
def headway(database: Engine, capsys: pytest.CaptureFixture[str]) -> Any:
    del database

    def call(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["layer", *words])
        return int(str(ended.value.code)), capsys.readouterr().out

    return call


def test_a_layer_shows_who_holds_what_and_what_is_free(headway: Any, database: Engine) -> None:
    assert headway("list")[1] == "there is no layer yet\n"
    with database.begin() as tx:
        make(tx, "buttons", part=("pages", 0.0, 0.25))
        make(tx, "banners", part=("pages", 0.5, 0.6), status="draft")
        make(tx, "old", part=("pages", 0.25, 0.5), status="completed")
        make(tx, "prices", part=("money", 0.0, 1.0))
        for number in range(20):
            get_variant(tx, "buttons", f"u{number}")
        units = tx.exec_driver_sql("SELECT count(*) FROM ab_assignments").scalar()
    code, shown = headway("show", "pages", "--json")
    document = json.loads(shown)
    parts = [(p["lower"], p["upper"], p["experiment"], p["units"]) for p in document["parts"]]
    assert code == 0
    assert parts == [
        (0.0, 0.25, "buttons", units),
        (0.25, 0.5, None, 0),
        (0.5, 0.6, "banners", 0),
        (0.6, 1.0, None, 0),
    ]
    assert document["free_share"] == 0.65
    listed = json.loads(headway("list", "--json")[1])
    assert [(each["name"], each["free_share"]) for each in listed] == [
        ("money", 0),
        ("pages", 0.65),
    ]
    assert "buttons 0.25, banners 0.1" in headway("list")[1]
    assert "0.25 to 0.5 │ 0.25  │ free" in headway("show", "pages")[1]


def test_a_layer_that_is_not_there_is_said_so(headway: Any) -> None:
    code, shown = headway("show", "pages", "--json")
    assert code == 2
    assert "no layer is called 'pages'" in json.loads(shown)["message"]
