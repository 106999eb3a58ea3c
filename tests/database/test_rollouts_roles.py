from __future__ import annotations

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from tasks.rollouts.changes import manual
from tasks.rollouts.definition.plan import RolloutPlan
from tasks.rollouts.definition.schedule import parse_schedule
from tasks.rollouts.exposure import should_use_new_model
from tasks.rollouts.ticks.found import find_rollouts
from tasks.rollouts.ticks.measuring import measure
from tasks.rollouts.ticks.tick import tick
from tests.database.rollouts import RECORD, begin, hours_pass, standing, tick_now, traffic

SAMPLE = {"version": "v2", "metric": "error_rate", "value_sum": 80, "sample_count": 1000}
WRITER, READER = text("SET LOCAL ROLE headway_writer"), text("SET LOCAL ROLE headway_reader")


def test_the_writer_may_do_all_that_a_rollout_needs(database: Engine) -> None:
    plan = RolloutPlan(name="rollout", model_version="v2", schedule=parse_schedule("5/2h,100/1h"))
    with database.begin() as tx:
        tx.execute(WRITER)
        manual.start(tx, plan, "ada", "because")
    hours_pass(database, 2)
    traffic(database)
    with database.begin() as tx:
        tx.execute(WRITER)
        measured = measure(tx, find_rollouts(tx, [1]), {})
        [outcome] = tick(tx, "2026-11-20T14:00Z", measured, "headway")
        assert outcome.verdict == "advance"
        assert manual.roll_back(tx, "rollout", "ada", "because").state == "rolled_back"
    assert standing(database) == (0, "rolled_back")


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE rollout_change SET actor = ''", "permission denied"),
        ("DELETE FROM rollout", "only a draft may be deleted"),
    ],
)
def test_the_writer_may_not_rewrite_history(database: Engine, statement: str, message: str) -> None:
    begin(database)
    with database.begin() as tx:
        tx.execute(WRITER)
        with pytest.raises(DBAPIError, match=message):
            tx.execute(text(statement))


def test_an_application_asks_and_records_with_the_readers_rights(database: Engine) -> None:
    begin(database, "100/1h")
    with database.begin() as tx:
        tx.execute(READER)
        assert tx.scalar(text("SELECT should_use_new_model('user-1', 'v2')")) is True
        assert should_use_new_model(tx, "user-1", "v2")
        tx.execute(RECORD, SAMPLE)
    assert tick_now(database).verdict == "rollback"


def test_an_application_may_not_write_samples_past_the_function(database: Engine) -> None:
    statement = text(
        "INSERT INTO health_sample (model_version, metric, value_sum, observed_at, source)"
        " VALUES ('v2', 'error_rate', 0, now(), 'me')"
    )
    with database.begin() as tx:
        tx.execute(READER)
        with pytest.raises(ProgrammingError, match="permission denied"):
            tx.execute(statement)
