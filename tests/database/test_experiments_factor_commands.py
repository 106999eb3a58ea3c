"""`headway experiment create | edit | show | factors` for multivariate designs and bandits."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.database.command_line import Call, headway_fixture
from tests.database.experiments import assignment, event, load, look
from tests.rows import rows_of

WHO = ("--actor", "ada", "--reason", "a test")
HEAD = """
planned_sample_size = 400
minimum_sample_size = 10
metric = {name = "spend", kind = "mean", event_type = "buy", aggregation = "sum", missing = "zero"}
"""
DESIGN = f"""
name = "offer"
{HEAD}
[[factors]]
name = "price"
levels = ["low", "high"]
[[factors]]
name = "color"
levels = ["red", "blue"]
configuration.blue.hue = 240
"""
BANDIT = f"""
name = "greeting"
{HEAD}
variants = [
    {{name = "cool", weight = 0.5, is_control = true}},
    {{name = "warm", weight = 0.5}},
]
[bandit]
algorithm = "top_two"
"""
headway = headway_fixture("experiment")


@pytest.fixture
def design(tmp_path: Path) -> str:
    path = tmp_path / "offer.toml"
    path.write_text(DESIGN, "utf-8")
    return str(path)


def test_a_design_is_created_by_its_factors_and_told_by_them(
    headway: Call, database: Engine, tmp_path: Path, design: str
) -> None:
    assert headway("create", "-f", design, "--start", *WHO)[0] == 0
    code, shown = headway("show", "offer")
    assert (code, "All 4 cells are tried" in shown) == (0, True)
    rows = []
    for number in range(200):
        price, color = ("low", "high")[number % 2], ("red", "blue")[number // 2 % 2]
        user = f"u{number}"
        value = 10.0 + number % 7 + 5 * (price == "high")
        rows += [
            assignment(user, f"price={price},color={color}", experiment="offer"),
            event(user, value, f"e{number}", experiment="offer"),
        ]
    load(tmp_path, rows)
    ((experiment,),) = rows_of(database, "SELECT id::text FROM ab_experiments")
    look(experiment)
    code, said = headway("factors", "offer", "--json")
    (metric,) = said["metrics"]
    assert (code, [each["outcome"] for each in metric["main"]]) == (0, ["better", "open"])
    assert metric["main"][0]["difference"] == pytest.approx(5, abs=0.3)
    code, page = headway("factors", "offer")
    assert (code, "significantly better" in page) == (0, True)
    found = list(csv.DictReader(io.StringIO(headway("factors", "offer", "--format", "csv")[1])))
    assert {row["metric"] for row in found} == {"spend"}
    file = tmp_path / "page.md"
    assert headway("factors", "offer", "-o", str(file))[0] == 0
    assert "data:image/svg+xml" in file.read_text("utf-8")


def test_what_has_no_factors_or_is_not_there_is_an_input_error(
    headway: Call, database: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "greeting.toml"
    path.write_text(BANDIT, "utf-8")
    assert headway("create", "-f", str(path), *WHO)[0] == 0
    code, said = headway("factors", "greeting")
    assert (code, "its plan has no factors" in said) == (2, True)
    assert headway("factors", "nobody")[0] == 2


def test_the_policy_of_a_bandit_is_edited_field_by_field(
    headway: Call, database: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "greeting.toml"
    path.write_text(BANDIT, "utf-8")
    headway("create", "-f", str(path), "--start", *WHO)
    words = ("--bandit", "floor=0.1", "--bandit", "algorithm=thompson")
    code, changed = headway("edit", "greeting", *words, *WHO, "--json")
    assert (code, changed["result"]["version"]) == (0, 2)
    policy = "SELECT bandit ->> 'algorithm', bandit ->> 'floor' FROM experiment_plan"
    assert rows_of(database, policy) == [("thompson", "0.1")]
    for wrong, code, message in (
        ("flor=0.1", 3, "did you mean floor?"),
        ("algorithm=tompson", 3, "did you mean 'thompson'?"),
        ("floor=0.9", 3, "is more than all the traffic; at most 0.5"),
        ("floor", 2, "write NAME=floor"),
    ):
        ended, said = headway("edit", "greeting", "--bandit", wrong, *WHO)
        assert (ended, message in said) == (code, True), said


def test_a_misspelt_word_of_a_design_is_told_with_the_nearest(
    headway: Call, database: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "offer.toml"
    for wrong, right, told in (
        ("[[factor]]", "[[factors]]", "factor: there is no such field; did you mean factors?"),
        ("configuration.bleu", "configuration.blue", "no level 'bleu'; did you mean 'blue'?"),
        ("level = [", "levels = [", "did you mean levels?"),
    ):
        path.write_text(DESIGN.replace(right, wrong), "utf-8")
        code, said = headway("create", "-f", str(path), *WHO)
        assert (code, told in said) == (2, True), said
