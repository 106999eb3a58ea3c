"""`headway experiment allocate` and `headway experiment balance`."""

from __future__ import annotations

from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import Engine

from flows.allocate import balance_traffic
from flows.pipeline import run_by_ledger
from tasks.database import control_engine
from tasks.errors import InputError
from tasks.experiments import steps
from tasks.experiments.assignment.allocation import reallocate
from tests.database.bandits import POLICY, start_bandit, visit
from tests.database.command_line import CommandLine
from tests.database.experiments import new_run, start
from tests.rows import rows_of

WRITTEN = (
    "SELECT (SELECT count(*) FROM allocation), (SELECT count(*) FROM headway.decision), "
    "(SELECT count(*) FROM moment_statistic), (SELECT count(*) FROM touched_unit)"
)


@pytest.fixture
def bandit(database: Engine) -> str:
    made = start_bandit()
    visit(np.random.default_rng(20261121), 300)
    with new_run():
        steps.check_experiment_data()
    return made


def test_a_dry_run_says_what_an_update_then_does_and_writes_nothing(
    database: Engine, bandit: str, command_line: CommandLine
) -> None:
    before = rows_of(database, WRITTEN)
    planned = command_line("experiment", "allocate", "greeting", "--dry-run", "--json")
    assert planned.code == 0
    assert rows_of(database, WRITTEN) == before
    done = command_line("experiment", "allocate", "greeting", "--json")
    assert planned.document | {"result": 0} == {"run_id": None, "mode": "dry-run", "result": 0}
    assert planned.document.keys() == done.document.keys()
    (wanted,), (found,) = planned.document["result"], done.document["result"]
    assert (wanted["outcome"], wanted["decision_id"], wanted["epoch"]) == ("changed", None, None)
    assert (wanted["weights"], wanted["arms"]) == (found["weights"], found["arms"])
    assert found["epoch"] == 2
    (again,) = command_line("experiment", "allocate", "--dry-run", "--json").document["result"]
    assert (again["outcome"], again["code"], again["decision_id"]) == (
        "skipped",
        "nothing-new",
        None,
    )
    assert again["arms"] == found["arms"]
    assert {arm["name"]: arm["weight"] for arm in again["arms"]} == again["weights"]


def test_people_see_a_table_of_the_arms_and_every_note_of_the_decision(
    database: Engine, command_line: CommandLine
) -> None:
    start_bandit(rates={"control": 0.1, "b": 0.3}, policy=POLICY | {"algorithm": "top_two"})
    visit(np.random.default_rng(1), 200, rates={"control": 0.1, "b": 0.3})
    with new_run():
        steps.check_experiment_data()
    planned = command_line("experiment", "allocate", "--dry-run").out
    done = command_line("experiment", "allocate").out
    again = command_line("experiment", "allocate", "--dry-run").out
    assert planned.startswith("greeting: held: No arm's share would change by 1.0% or more. top_")
    assert again.startswith("greeting: skipped: nothing is new since its last update. top_two")
    for said in (planned, done, again, command_line("experiment", "report", "greeting").out):
        assert "top_two of two arms is half and half" in said
    assert "chance to be best" in planned
    assert "50.0%" in again
    assert command_line("experiment", "allocate", "--dry-run", "--remote").code == 2


def test_what_is_no_bandit_is_refused(database: Engine, command_line: CommandLine) -> None:
    start()
    for further in ((), ("--dry-run",)):
        said = command_line("experiment", "allocate", "buttons", *further)
        assert (said.code, "fixed-design" in said.err) == (3, True)
    assert command_line("experiment", "allocate", "nobody").code == 2


def test_balance_keeps_who_asked_and_why(database: Engine, command_line: CommandLine) -> None:
    experiment = UUID(start())
    with control_engine().begin() as tx:
        reallocate(tx, experiment, {"control": 0.9, "red": 0.1}, "ada", "carefully")
    person = ("--actor", "bob", "--reason", "the trial is over")
    said = command_line("experiment", "balance", "buttons", *person)
    assert (said.code, "changed" in said.out) == (0, True)
    (row,) = rows_of(database, "SELECT actor, reason FROM allocation WHERE epoch = 3")
    assert row[0] == "bob"
    assert row[1].endswith("of new units; who has an arm keeps it. the trial is over")
    decided = "SELECT actor, reason FROM headway.decision WHERE rule = 'traffic-balance'"
    assert rows_of(database, decided) == [("bob", "the trial is over")]


def test_who_balances_one_experiment_says_why(database: Engine) -> None:
    with pytest.raises(InputError, match="actor and reason"):
        run_by_ledger(balance_traffic, {"experiment": "buttons"})
