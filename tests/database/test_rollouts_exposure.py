from __future__ import annotations

import pytest
from sqlalchemy import Connection, Engine, text

from tasks.bucketing import bucket, is_exposed
from tasks.errors import InputError
from tasks.rollouts import manual
from tasks.rollouts.exposure import should_use_new_model
from tasks.rollouts.plan import RolloutPlan
from tasks.rollouts.schedule import parse_schedule

ODD_UNITS = [
    "",
    " ",
    "7",
    "007",
    "7.0",
    "a:b",
    "Zoë",
    "Zoe\u0308",
    "用户-7",
    "😀",
    "👩‍👩‍👧",
    "x" * 70_000,
    "ß" * 70_000,
]
UNITS = [*ODD_UNITS, *(f"user-{number}" for number in range(5_000)), *map(str, range(2_000))]
SQL_BUCKETS = text("SELECT unit, bucket(:salt, unit) FROM unnest(CAST(:units AS text[])) AS unit")
SQL_EXPOSED = text(
    "SELECT unit FROM unnest(CAST(:units AS text[])) AS unit"
    " WHERE should_use_new_model(unit, :version)"
)


def start(tx: Connection, name: str, version: str, schedule: str = "25/4h,100/24h") -> None:
    plan = RolloutPlan(name=name, model_version=version, schedule=parse_schedule(schedule))
    manual.start(tx, plan, "tester", "a test")


@pytest.mark.parametrize("salt", ["rollout:one", "", "sälz:😀"])
def test_sql_and_python_agree_on_every_bucket(database: Engine, salt: str) -> None:
    with database.connect() as connection:
        rows = connection.execute(SQL_BUCKETS, {"salt": salt, "units": UNITS})
        found = {row.unit: row.bucket for row in rows}
    assert found == {unit: bucket(salt, unit) for unit in UNITS}


def test_sql_and_python_give_the_same_users_the_new_model(database: Engine) -> None:
    with database.begin() as tx:
        start(tx, "one", "v2")
        by_sql = set(tx.scalars(SQL_EXPOSED, {"units": UNITS, "version": "v2"}))
        by_python = {unit for unit in UNITS if should_use_new_model(tx, unit, "v2")}
    assert by_sql == by_python == {unit for unit in UNITS if is_exposed("rollout:one", unit, 25)}
    assert 0.2 < len(by_sql) / len(UNITS) < 0.3


@pytest.mark.parametrize("percentage", [0, 0.01, 33.3, 99.999, 100])
def test_both_agree_at_any_percentage(database: Engine, percentage: float) -> None:
    with database.begin() as tx:
        start(tx, "one", "v2")
        manual.set_percentage(tx, "one", percentage, "tester", "a test")
        by_sql = set(tx.scalars(SQL_EXPOSED, {"units": UNITS, "version": "v2"}))
    assert by_sql == {unit for unit in UNITS if is_exposed("rollout:one", unit, percentage)}


def test_nobody_gets_an_unknown_or_a_rolled_back_version(database: Engine) -> None:
    with database.begin() as tx:
        start(tx, "one", "v2", "100/1h")
        assert should_use_new_model(tx, "user-1", "v2")
        assert not should_use_new_model(tx, "user-1", "v3")
        manual.roll_back(tx, "one", "tester", "a test")
        assert not should_use_new_model(tx, "user-1", "v2")
        assert not list(tx.scalars(SQL_EXPOSED, {"units": UNITS, "version": "v2"}))
        assert tx.scalar(text("SELECT should_use_new_model(NULL, NULL)")) is False


def test_the_newest_rollout_of_a_version_answers_for_the_same_users(database: Engine) -> None:
    with database.begin() as tx:
        start(tx, "one", "v2")
        before = set(tx.scalars(SQL_EXPOSED, {"units": UNITS, "version": "v2"}))
        manual.roll_back(tx, "one", "tester", "a test")
        start(tx, "two", "v2")
        assert set(tx.scalars(SQL_EXPOSED, {"units": UNITS, "version": "v2"})) == before
        salts = tx.execute(text("SELECT salt, is_salt_inherited FROM rollout ORDER BY id")).all()
    assert [tuple(row) for row in salts] == [("rollout:one", False), ("rollout:one", True)]


def test_a_rollout_may_draw_other_users(database: Engine) -> None:
    with database.begin() as tx:
        start(tx, "one", "v2")
        before = set(tx.scalars(SQL_EXPOSED, {"units": UNITS, "version": "v2"}))
        manual.roll_back(tx, "one", "tester", "a test")
        plan = RolloutPlan(
            name="two", model_version="v2", schedule=parse_schedule("25/1h"), resalt=True
        )
        manual.start(tx, plan, "tester", "a test")
        after = set(tx.scalars(SQL_EXPOSED, {"units": UNITS, "version": "v2"}))
    assert 0.15 < len(before & after) / len(before) < 0.35


def test_a_number_is_not_a_user_id(database: Engine) -> None:
    with database.begin() as tx:
        start(tx, "one", "v2")
        with pytest.raises(InputError, match="must be text"):
            should_use_new_model(tx, 7, "v2")  # type: ignore[arg-type]
