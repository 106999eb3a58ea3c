"""`headway experiment results | select-winner`, as a person types them."""

from __future__ import annotations

from pathlib import Path

from tests.database.command_line import Call, headway_fixture
from tests.database.experiments import arms, assignment, event, load, look, start

WHO = ("--actor", "ada", "--reason", "a new colour")
LOW = [10.0 + number % 7 for number in range(100)]
HIGH = [value + 3 for value in LOW]
headway = headway_fixture("experiment")


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
    assert "winner: red; significance 1.0000" in headway("results", "buttons")[1]


def test_a_person_selects_the_winner_that_was_decided_and_no_other_without_force(
    headway: Call, tmp_path: Path
) -> None:
    experiment = start(policy="recommend")
    load(tmp_path, arms(LOW, HIGH))
    look(experiment)
    code, said = headway("select-winner", "buttons", "--variant", "control", *WHO)
    assert (code, "[not-the-winner]" in said) == (3, True)
    assert "to choose one all the same" in said
    assert "--variant control --force" in said.replace("\n", " ")
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
