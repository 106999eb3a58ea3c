"""Which samples a tick counts, and what the database itself refuses."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from tasks.rollouts.definition.policy import CheckPolicy, RolloutPolicy
from tests.database.rollouts import an_hour, begin, hours_pass, sample, tick_now
from tests.rows import rows_of

LAST_HOUR = RolloutPolicy(checks=(CheckPolicy(check="error_rate", limit=0.05, window_hours=1),))


def test_an_event_on_the_edge_of_two_windows_is_in_one_of_them(database: Engine) -> None:
    begin(database, policy=LAST_HOUR)
    hours_pass(database, 1)
    sample(database, "error_rate", 1, 600)
    hours_pass(database, 0.5)
    tick_now(database)
    [(edge,)] = rows_of(database, "SELECT window_end FROM health_check")
    with database.begin() as tx:
        tx.execute(
            text("SELECT record_health_sample('v2', 'error_rate', 2, 700, :edge)"), {"edge": edge}
        )
    hours_pass(database, 1)
    tick_now(database)
    counted = rows_of(database, "SELECT value * sample_count FROM health_check ORDER BY id")
    assert [round(each[0], 6) for each in counted] == [1, 2]


def test_a_late_sample_changes_no_stored_verdict(database: Engine) -> None:
    begin(database, policy=LAST_HOUR)
    an_hour(database)
    before = rows_of(database, "SELECT * FROM health_check")
    late = (
        "SELECT record_health_sample('v2', 'error_rate', 900, 1000,"
        " headway.clock_now() - interval '30 minutes')"
    )
    with database.begin() as tx:
        tx.execute(text(late))
    hours_pass(database, 1)
    sample(database, "error_rate", 1, 1000)
    assert tick_now(database).verdict == "advance"
    assert rows_of(database, "SELECT * FROM health_check ORDER BY id LIMIT 1") == before


def test_a_tick_passes_over_what_is_said_to_be_observed_later(database: Engine) -> None:
    """SQL takes any time: a sample that says 2100 counts when that has come."""
    begin(database, policy=LAST_HOUR)
    hours_pass(database, 1)
    sample(database, "error_rate", 1, 1000)
    late = "SELECT record_health_sample('v2', 'error_rate', 900, 1000, '2100-01-01T00:00:00Z')"
    with database.begin() as tx:
        tx.execute(text(late))
    outcome = tick_now(database)
    assert [(each.health, each.sample_count) for each in outcome.checks] == [("healthy", 1000)]


def test_the_database_refuses_a_rolled_back_rollout_that_is_still_exposed(
    database: Engine,
) -> None:
    """Scenario 39. Guard: a check of the table, whatever the code does."""
    begin(database)
    with pytest.raises(IntegrityError, match="rolled_back_is_zero"), database.begin() as tx:
        tx.execute(text("UPDATE rollout SET state = 'rolled_back', finished_at = now()"))


@pytest.mark.parametrize("percentage", ["-1", "101", "'NaN'"])
def test_the_database_refuses_an_impossible_percentage(database: Engine, percentage: str) -> None:
    begin(database)
    with pytest.raises(IntegrityError, match="percentage"), database.begin() as tx:
        tx.execute(text(f"UPDATE rollout SET percentage = {percentage}"))
