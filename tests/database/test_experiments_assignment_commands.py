"""The commands that assign: `headway experiment assign | variant | override`."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from tests.database.command_line import Call, headway_fixture
from tests.database.experiments import start

headway = headway_fixture("experiment")


def test_units_of_a_file_are_assigned_by_a_command(headway: Call, tmp_path: Path) -> None:
    start()
    path = tmp_path / "units.csv"
    path.write_text("user_id\nann\nbob\n\n", "utf-8")
    code, document = headway("assign", "buttons", "-f", str(path), "--json")
    assert (code, document["result"]["assigned"], document["result"]["kept"]) == (0, 2, 0)
    code, document = headway("assign", "buttons", "-f", str(path), "--json")
    assert (code, document["result"]["assigned"], document["result"]["kept"]) == (0, 0, 2)


def test_a_variant_is_explained_without_being_given(headway: Call, database: Engine) -> None:
    start(target_rules=[{"attribute": "age", "op": "ge", "value": 18}])
    asked = ("variant", "buttons", "ann")
    assert headway(*asked, "--explain", "--json")[1]["why"] == "not-targeted"
    code, document = headway(*asked, "--attribute", "age=20", "--explain", "--json")
    assert (code, document["why"]) == (0, "allocated")
    with database.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM ab_assignments")) == 0
    assert headway(*asked, "--attribute", "age=20", "--json")[1]["variant"] == document["variant"]
    assert headway(*asked, "--explain", "--json")[1]["why"] == "assigned"


def test_a_person_chooses_a_variant_and_lets_go_of_it(headway: Call, database: Engine) -> None:
    start()
    person = ("--actor", "ada", "--reason", "to look at it")
    code, document = headway("override", "buttons", "bob", "red", *person, "--json")
    assert (code, document["result"]["is_changed"]) == (0, True)
    assert headway("variant", "buttons", "bob", "--explain", "--json")[1]["why"] == "override"
    with database.connect() as connection:
        kept = connection.execute(text("SELECT actor, reason FROM assignment_override")).one()
    assert tuple(kept) == ("ada", "to look at it")
    # ' bob' is another unit than 'bob'.
    assert headway("override", "buttons", " bob", "control", *person)[0] == 0
    assert headway("variant", "buttons", "bob", "--explain", "--json")[1]["variant"] == "red"
    assert headway("variant", "buttons", " bob", "--explain", "--json")[1]["variant"] == "control"
    code, document = headway("override", "buttons", "bob", "--remove", *person, "--json")
    assert (code, document["result"]["is_changed"]) == (0, True)


@pytest.mark.parametrize(
    "words",
    [
        ("assign", "buttons"),
        ("assign", "buttons", "--table", "t", "-f", __file__),
        ("variant", "buttons", "ann", "--attribute", "age"),
        ("override", "buttons", "bob", "--actor", "ada", "--reason", "r"),
    ],
)
def test_a_command_without_its_one_source_is_not_understood(
    headway: Call, words: tuple[str, ...]
) -> None:
    assert headway(*words, "--json")[0] == 2
