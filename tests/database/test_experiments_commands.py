"""`headway experiment create | show | plan | edit | start | … | sync`, as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.database.command_line import Call, headway_fixture
from tests.database.experiments import plan
from tests.rows import rows_of

WHO = ("--actor", "ada", "--reason", "a new colour")
TOML = """
name = "greeting"
minimum_effect = 0.05
metric = {name = "answers", kind = "proportion", event_type = "answer"}
variants = [
    {name = "cool", weight = 0.5, is_control = true},
    {name = "warm", weight = 0.5, label = "Warm"},
]
"""
headway = headway_fixture("experiment")


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "greeting.toml"
    path.write_text("planned_sample_size = 4000\n" + TOML, "utf-8")
    return str(path)


def test_an_experiment_is_created_shown_changed_and_deleted(
    headway: Call, database: Engine, file: str
) -> None:
    code, made = headway("create", "-f", file, *WHO, "--json")
    assert (code, made["result"]["status"]) == (0, "draft")
    words = ("--description", "d", "--weight", "cool=0.4", "--weight", "warm=0.6")
    code, changed = headway("edit", "greeting", *words, *WHO, "--json")
    assert (code, changed["result"]["version"]) == (0, 2)
    code, shown = headway("show", "greeting", "--json")
    assert shown["experiment"]["plan"]["variants"][1]["weight"] == 0.6
    assert [each["actor"] for each in shown["changes"]] == ["ada"]
    code, words_shown = headway("show", "greeting")
    assert "# greeting: draft, version 2" in words_shown
    assert "a new colour" in words_shown
    assert headway("delete", "greeting", *WHO)[0] == 0
    assert rows_of(database, "SELECT count(*) FROM ab_experiments") == [(0,)]


def test_an_experiment_goes_through_its_life(headway: Call, file: str) -> None:
    assert headway("create", file, "--start", *WHO, "--json")[1]["result"]["status"] == "active"
    for action, status in (
        ("pause", "paused"),
        ("resume", "active"),
        ("complete", "completed"),
        ("archive", "archived"),
    ):
        code, done = headway(action, "greeting", *WHO, "--json")
        assert (code, done["result"]["status"]) == (0, status)
    code, refused = headway("start", "greeting", *WHO, "--json")
    assert (code, refused["reasons"][0]["code"]) == (3, "illegal-move")
    assert headway("archive", "greeting", "--version", "9", *WHO)[0] == 3


def test_a_whole_plan_replaces_a_draft(headway: Call, database: Engine, file: str) -> None:
    headway("create", "-f", file, *WHO)
    Path(file).write_text("planned_sample_size = 5000\n" + TOML, "utf-8")
    _, changed = headway("edit", "greeting", "-f", file, *WHO, "--json")
    assert [each["field"] for each in changed["result"]["changes"]] == ["planned_sample_size"]


def test_an_edit_of_nothing_names_what_can_be_edited(headway: Call) -> None:
    code, said = headway("edit", "greeting", *WHO)
    told = " ".join(said.split())
    assert code == 2
    for option in ("--ends-at", "--minimum-sample-size", "--weight", "--label", "--file"):
        assert option in told


@pytest.mark.parametrize("action", ["plan", "create"])
def test_a_file_of_another_kind_is_told_from_a_broken_one(
    action: str, headway: Call, tmp_path: Path
) -> None:
    page = tmp_path / "README.md"
    page.write_text("# Hello", "utf-8")
    who = WHO if action == "create" else ()
    code, refused = headway(action, "-f", str(page), *who, "--json")
    assert code == 2
    assert "README.md is no plan: a file .toml or .json is expected" in json.dumps(refused)


def test_a_plan_says_units_and_days_or_why_not(headway: Call, tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(TOML, "utf-8")
    code, refused = headway("plan", "-f", str(file), "--json")
    assert (code, refused["reasons"][0]["code"]) == (3, "no-history")
    stated = ("--mean", "0.1", "--units-a-week", "30000")
    code, planned = headway("plan", "-f", str(file), *stated, "--json")
    assert (code, planned["planned_sample_size"], planned["days"]) == (0, 128_180, 30)
    code, words = headway("plan", str(file), *stated, "--effect", "0.1")
    assert "**32,733 units**" in words
    assert "| 4 | 120,000 |" in words


def test_a_folder_is_synced(headway: Call, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(plan(name="a").model_dump_json(), "utf-8")
    (tmp_path / "b.toml").write_text("planned_sample_size = 9\n" + TOML, "utf-8")
    code, said = headway("sync", str(tmp_path), *WHO)
    assert (code, said.splitlines()[:2]) == (0, ["a: new → draft", "greeting: new → draft"])


@pytest.mark.parametrize(
    "words",
    [
        ["create", *WHO],
        ["plan"],
        ["edit", "x", "--weight", "red", *WHO],
        ["create", "-f", "/no/such/file.toml", *WHO],
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(headway: Call, words: list[str]) -> None:
    assert headway(*words)[0] == 2


def test_a_file_that_is_no_plan_says_what_is_wrong(
    headway: Call, tmp_path: Path, file: str
) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("planned_sample_size = -1\n" + TOML.replace("0.5, is", "0.7, is"), "utf-8")
    code, said = headway("create", "-f", str(wrong), *WHO, "--json")
    assert code == 2
    assert "planned_sample_size: Input should be greater than or equal to 0" in said["message"]
