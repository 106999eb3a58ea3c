"""What the reports say of a bandit, beside the same figures worked out another way."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text

from flows.cli import cli
from tasks.experiments import steps
from tasks.experiments.reporting.bandits import read_bandit
from tasks.experiments.reporting.dashboard import read_dashboard
from tasks.experiments.reporting.detailed import read_report
from tests.database.bandits import RATES, start_bandit, visit
from tests.database.experiments import PASSED, fold_now, new_run, start
from tests.rows import rows_of


@pytest.fixture
def bandit(database: Engine) -> str:
    """Three epochs of a bandit, the last one after its last update."""
    made, random = start_bandit(), np.random.default_rng(7)
    for number in range(3):
        visit(random, 300, prefix=f"day{number}-")
        fold_now(made)
        if number < 2:
            with new_run():
                steps.allocate_batch(experiment_ids=[made], suites=PASSED)
    return made


def test_regret_is_what_the_raw_units_say(database: Engine, bandit: str) -> None:
    """Counted from the assignments, unit by unit, as of the last update."""
    with database.connect() as connection:
        facts = read_bandit(connection, "greeting")
    assert facts is not None
    values = {arm.name: arm.value or 0.0 for arm in facts.arms}
    best = max(values.values())
    units = rows_of(
        database,
        "SELECT v.variant_name, a.epoch FROM ab_assignments a "
        "JOIN ab_variants v ON v.id = a.variant_id",
    )
    counted = [arm for arm, epoch in units if epoch < 3]  # the third came after the last update
    followed = sum(best - values[arm] for arm in counted)
    uniform = sum(best - sum(values.values()) / len(values) for _ in counted)
    assert facts.regret == pytest.approx(followed, rel=1e-9)
    assert facts.uniform_regret == pytest.approx(uniform, rel=1e-9)
    assert followed < 0.9 * uniform
    assert [sum(arm.units for arm in epoch.arms) for epoch in facts.epochs] == [300, 300, 300]
    assert {arm.name: arm.units for arm in facts.arms} == {
        name: sum(arm == name for arm, _ in units) for name in RATES
    }
    assert {arm.name: arm.n for arm in facts.arms} == {name: counted.count(name) for name in RATES}


def test_the_report_shows_the_traffic_over_time_and_who_leads(
    database: Engine, bandit: str
) -> None:
    with database.connect() as connection:
        page = read_report(connection, "greeting").as_markdown()
        board = read_dashboard(connection)
    assert "## Bandit" in page
    assert "![Traffic over 3 epochs, now: control" in page
    assert "| b | " in page
    (row,) = board.experiments
    assert row.bandit is not None
    assert row.bandit.leading is not None
    assert row.bandit.leading.name == "b"
    assert "b is best with" in board.as_markdown()
    assert "of equal shares" in board.csv_rows()[0]["bandit"]


def test_the_report_as_json_has_every_split_with_its_units(database: Engine, bandit: str) -> None:
    result = CliRunner().invoke(cli, ["experiment", "report", "greeting", "--json"])
    told = json.loads(result.stdout)["bandit"]
    assert [epoch["epoch"] for epoch in told["epochs"]] == [1, 2, 3]
    assert sum(arm["chance_best"] for arm in told["arms"]) == pytest.approx(1, abs=1e-6)
    assert all(arm["expected_loss"] >= 0 for arm in told["arms"])


def test_a_switched_off_arm_takes_no_part_in_equal_shares(database: Engine, bandit: str) -> None:
    with database.begin() as tx:
        tx.execute(
            text(
                "UPDATE allocation_weight SET weight = 0 WHERE epoch = 2 AND variant_id = "
                "(SELECT id FROM ab_variants WHERE variant_name = 'd')"
            )
        )
    with database.connect() as connection:
        facts = read_bandit(connection, "greeting")
    assert facts is not None
    values = {arm.name: arm.value or 0.0 for arm in facts.arms}
    best, open_values = max(values.values()), [v for name, v in values.items() if name != "d"]
    expected = 300 * (best - sum(values.values()) / 5) + 300 * (best - sum(open_values) / 4)
    assert facts.uniform_regret == pytest.approx(expected, rel=1e-9)


def test_a_bandit_without_an_update_says_so_and_a_fixed_design_nothing(database: Engine) -> None:
    start_bandit()
    start()
    with database.connect() as connection:
        page = read_report(connection, "greeting").as_markdown()
        assert "was not updated yet" in page
        assert "## Bandit" not in read_report(connection, "buttons").as_markdown()
        assert "was not updated yet" in read_dashboard(connection).as_markdown()
