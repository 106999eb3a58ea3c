"""Alerts of a rollout: its end closes them, but those that say why it was taken back."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from sqlalchemy import Engine

from tasks.alerts.handling import acknowledge, resolve
from tasks.rollouts.changes import manual
from tasks.rollouts.definition.policy import CheckPolicy, RolloutPolicy
from tests.database.rollouts import FAILING, HEALTHY, an_hour, begin, standing
from tests.rows import rows_of

ERRORS = CheckPolicy(check="error_rate", limit=0.05, window_hours=1)
WARNED = CheckPolicy(check="latency", limit=100, window_hours=1, action="warn")
ALERTS = "SELECT metric, severity, state FROM alert ORDER BY id"
CLOSED = """
    SELECT metric, old_state, actor, note FROM alert_change JOIN alert ON alert.id = alert_id
    WHERE new_state = 'resolved' ORDER BY alert_change.id
"""
SLOW = HEALTHY.model_copy(update={"latency_ms": 150.0})


@pytest.mark.parametrize("name", ["health source", "health unknown", "tick"])
def test_no_check_is_named_as_an_alert_of_the_rollout_itself(database: Engine, name: str) -> None:
    named = CheckPolicy(check="custom", metric=name, limit=1)
    with pytest.raises(ValidationError, match=f"no check can be named '{name}'"):
        begin(database, policy=RolloutPolicy(checks=(named,)))


def test_a_rollout_that_completes_closes_what_is_open(database: Engine) -> None:
    begin(database, "100/2h", RolloutPolicy(checks=(ERRORS, WARNED)))
    assert an_hour(database, SLOW).verdict == "hold"
    assert rows_of(database, ALERTS) == [("latency", "warning", "open")]
    assert an_hour(database, SLOW).verdict == "complete"
    assert rows_of(database, ALERTS) == [("latency", "warning", "resolved")]
    note = "the rollout is over (completed): healthy through the bake at 100 %"
    assert rows_of(database, CLOSED) == [("latency", "open", "headway", note)]


def test_nothing_opens_for_a_rollout_in_the_tick_that_completes_it(database: Engine) -> None:
    begin(database, "100/1h", RolloutPolicy(checks=(ERRORS, WARNED)))
    assert an_hour(database, SLOW).verdict == "complete"
    assert rows_of(database, ALERTS) == []


def test_a_rollback_closes_all_but_the_harm_that_it_rests_on(database: Engine) -> None:
    begin(database, policy=RolloutPolicy(checks=(ERRORS, WARNED)))
    an_hour(database, SLOW)
    harmful = FAILING.model_copy(update={"latency_ms": 150.0})
    assert an_hour(database, harmful).verdict == "rollback"
    assert standing(database) == (0, "rolled_back")
    assert rows_of(database, ALERTS) == [
        ("latency", "warning", "resolved"),
        ("error_rate", "critical", "open"),
    ]
    [(metric, *_, note)] = rows_of(database, CLOSED)
    assert metric == "latency"
    assert note.startswith("the rollout is over (rolled back): error_rate 0.0")


def test_a_rollback_by_hand_says_who_closed_and_why(database: Engine) -> None:
    begin(database, policy=RolloutPolicy(checks=(ERRORS, WARNED)))
    an_hour(database, SLOW)
    with database.begin() as tx:
        manual.roll_back(tx, "rollout", "ada", "too slow")
    assert rows_of(database, ALERTS) == [("latency", "warning", "resolved")]
    note = "the rollout is over (rolled back): ada: too slow"
    assert rows_of(database, CLOSED) == [("latency", "open", "headway", note)]
    # A second time there is nothing to close, and a tick finds nobody to look at.
    with database.begin() as tx:
        manual.roll_back(tx, "rollout", "ada", "again")
    assert len(rows_of(database, CLOSED)) == 1


def test_what_comes_back_after_somebody_resolved_it_is_a_new_alert(database: Engine) -> None:
    """Scenario 30."""
    begin(database, policy=RolloutPolicy(checks=(ERRORS, WARNED)))
    an_hour(database, SLOW)
    an_hour(database, SLOW)
    with database.begin() as tx:
        resolve(tx, 1, "ada", "was the load test")
    an_hour(database, SLOW)
    counts = "SELECT id, state, occurrences FROM alert ORDER BY id"
    assert rows_of(database, counts) == [(1, "resolved", 2), (2, "open", 1)]
    with database.begin() as tx:
        acknowledge(tx, 2, "ada", "on it")
    fast = SLOW.model_copy(update={"latency_ms": 60.0})
    for _ in range(3):
        an_hour(database, fast)
    assert rows_of(database, counts) == [(1, "resolved", 2), (2, "resolved", 1)]
