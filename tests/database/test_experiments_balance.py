"""Fixed designs go back to their plan: when a person asks, or when units come otherwise."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from tasks.database import control_engine
from tasks.errors import NotFound, Refused
from tasks.experiments import steps
from tasks.experiments.assignment.allocation import reallocate
from tasks.experiments.traffic.balancing import Cause
from tasks.experiments.traffic.results import Balanced
from tests.database.bandits import start_bandit
from tests.database.experiments import fold_now, new_run, start
from tests.rows import rows_of

SPLIT = "SELECT variant_name, traffic_weight FROM ab_variants"
THREE = [
    {"name": "control", "weight": 0.5, "is_control": True},
    {"name": "red", "weight": 0.25},
    {"name": "blue", "weight": 0.25},
]


def move(experiment: str, **weights: float) -> None:
    with control_engine().begin() as tx:
        reallocate(tx, UUID(experiment), weights, "ada", "carefully")


def arrive(experiment: str, **units: int) -> None:
    """So many units come to each arm in the newest epoch, whatever its split says."""
    with control_engine().begin() as tx:
        for arm, count in units.items():
            tx.execute(
                text(
                    "INSERT INTO ab_assignments (experiment_id, variant_id, user_id, "
                    "bucket_value, epoch) SELECT v.experiment_id, v.id, :arm || n, 0.5, "
                    "(SELECT max(epoch) FROM allocation WHERE experiment_id = v.experiment_id) "
                    "FROM ab_variants v, generate_series(1, :count) n "
                    "WHERE v.experiment_id = :id AND v.variant_name = :arm"
                ),
                {"arm": arm, "count": count, "id": experiment},
            )
    fold_now(experiment)


def balance(cause: Cause = "operator", experiment: str = "buttons") -> Balanced:
    with new_run():
        return steps.balance_experiment(experiment=experiment, cause=cause)


def unbalanced() -> list[str]:
    with new_run():
        return [each.name for each in steps.list_unbalanced_experiments()]


def test_a_person_brings_the_whole_plan_back(database: Engine) -> None:
    experiment = start(variants=THREE)
    move(experiment, control=0.9, red=0.1, blue=0.0)
    found = balance()
    assert (found.outcome, found.code, found.epoch) == ("changed", "operator", 3)
    assert dict(rows_of(database, SPLIT)) == {"control": 0.5, "red": 0.25, "blue": 0.25}
    again = balance()
    assert (again.outcome, again.code, again.epoch) == ("held", "as-planned", None)
    assert rows_of(database, "SELECT count(*) FROM allocation") == [(3,)]


def test_a_wrong_sample_ratio_brings_the_plan_back_once(database: Engine) -> None:
    experiment = start(variants=THREE)
    move(experiment, control=0.8, red=0.2, blue=0.0)
    arrive(experiment, control=500, red=500)
    assert unbalanced() == ["buttons"]
    found = balance("srm")
    assert (found.outcome, found.code) == ("changed", "srm")
    # Nobody but a person switches an arm on again.
    assert found.weights == pytest.approx({"control": 2 / 3, "red": 1 / 3, "blue": 0.0})
    move(experiment, control=0.7, red=0.3, blue=0.0)
    assert unbalanced() == []


def test_a_split_that_units_follow_is_left_alone(database: Engine) -> None:
    moved, planned = start(name="moved"), start(name="planned")
    move(moved, control=0.8, red=0.2)
    arrive(moved, control=800, red=200)
    arrive(planned, control=800, red=200)  # wrong, but its split is the planned one
    assert unbalanced() == []


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("nobody", NotFound, "no experiment"),
        ("greeting", Refused, "bandit"),
        ("buttons", Refused, "over"),
    ],
)
def test_only_a_running_fixed_design_can_be_balanced(
    database: Engine, name: str, error: type[Exception], message: str
) -> None:
    start()
    start_bandit()
    with database.begin() as tx:
        tx.execute(text("UPDATE ab_experiments SET status = 'completed'"))
    with pytest.raises(error, match=message):
        balance(experiment=name)
