"""A decided slot bars steps up, and nothing else: whoever looks again still guards."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from flows.pipeline import run_by_ledger
from flows.rollout import progress_rollouts
from tasks.decisions import replay
from tasks.rollouts.changes import manual
from tasks.rollouts.definition.policy import CheckPolicy, RolloutPolicy
from tests.database.rollouts import (
    begin,
    codes,
    hours_pass,
    measure_now,
    sample,
    standing,
    tick_now,
    tick_on,
)
from tests.rows import rows_of

SLOT = "2026-11-20T14:00Z"
ERRORS = CheckPolicy(check="error_rate", limit=0.05, window_hours=1)
POLICY = RolloutPolicy(checks=(ERRORS,))


def healthy_tick(database: Engine, slot: str = SLOT) -> None:
    sample(database, "error_rate", 1, 1000)
    assert tick_now(database, slot=slot).verdict == "hold"


def test_harm_in_a_decided_slot_is_rolled_back_at_once(database: Engine) -> None:
    begin(database, policy=POLICY)
    healthy_tick(database)
    sample(database, "error_rate", 900, 1000)
    outcome = tick_now(database, slot=SLOT)
    assert (outcome.verdict, codes(outcome)) == ("rollback", ["limit-breached"])
    assert standing(database) == (0, "rolled_back")
    change = "SELECT cause, slot, decision_id IS NOT NULL FROM rollout_change ORDER BY id DESC"
    assert rows_of(database, change)[0] == ("rollback", None, True)
    # The checks of the slot stay as they were decided on, one for each metric.
    assert rows_of(database, "SELECT slot, verdict FROM health_check") == [(SLOT, "healthy")]
    assert rows_of(database, "SELECT severity, state FROM alert") == [("critical", "open")]
    with database.connect() as connection:
        assert replay(connection).differences == ()


@pytest.mark.parametrize(
    ("again", "code"), [(SLOT, "slot-decided"), ("2026-11-20T13:00Z", "stale-slot")]
)
def test_a_decided_slot_bars_every_step_up(database: Engine, again: str, code: str) -> None:
    begin(database, policy=POLICY)
    healthy_tick(database)
    hours_pass(database, 2)
    sample(database, "error_rate", 1, 1000)
    outcome = tick_now(database, slot=again)
    assert (outcome.verdict, codes(outcome), outcome.health) == ("skip", [code], "healthy")
    assert standing(database) == (5, "running")
    assert rows_of(database, "SELECT count(*) FROM health_check") == [(1,)]
    assert tick_now(database).verdict == "advance"


def test_a_second_look_at_a_slot_does_not_lengthen_a_row_of_unhealthy_ticks(
    database: Engine,
) -> None:
    policy = RolloutPolicy(checks=(ERRORS.model_copy(update={"consecutive": 2}),))
    begin(database, policy=policy)
    sample(database, "error_rate", 900, 1000)
    assert tick_now(database, slot=SLOT).verdict == "hold"
    assert [tick_now(database, slot=SLOT).verdict for _ in range(3)] == ["skip"] * 3
    assert tick_now(database).verdict == "rollback"


def test_a_second_look_alerts_of_what_is_unhealthy_and_heals_nothing(database: Engine) -> None:
    warn = ERRORS.model_copy(update={"action": "warn"})
    latency = CheckPolicy(check="latency", limit=1e6)
    begin(database, policy=RolloutPolicy(checks=(warn, latency)))
    sample(database, "latency", 1000, 1000)
    healthy_tick(database)
    sample(database, "error_rate", 900, 1000)
    tick_now(database, slot=SLOT)
    assert rows_of(database, "SELECT metric, state FROM alert") == [("error_rate", "open")]
    hours_pass(database, 1.5)
    sample(database, "error_rate", 1, 1000)
    for _ in range(4):
        tick_now(database, slot=SLOT)
    assert rows_of(database, "SELECT state, healthy_streak FROM alert") == [("open", 0)]


def test_the_slot_of_a_rollout_is_as_long_as_its_ticks_are_apart(
    database: Engine,
) -> None:
    begin(database, "5/1h,100/1h", policy=POLICY, tick_seconds=900)
    begin(database, name="hourly", version="v3", policy=POLICY)
    begin(database, name="daily", version="v4", policy=POLICY, tick_seconds=86_400)
    slots = []
    for minute in (0, 14, 15, 30, 59):
        found = tick_on(database, measure_now(database, 1, 2, 3), f"2026-11-20T14:{minute:02}Z")
        slots.append([(each.slot[11:16], each.verdict) for each in found])
    assert [[slot for slot, _ in each] for each in slots] == [
        ["14:00", "14:00", "14:00"],
        ["14:00", "14:00", "14:00"],
        ["14:15", "14:00", "14:00"],
        ["14:30", "14:00", "14:00"],
        ["14:45", "14:00", "14:00"],
    ]
    assert [[verdict for _, verdict in each] for each in slots] == [
        ["hold"] * 3,
        ["skip"] * 3,
        *[["hold", "skip", "skip"]] * 3,
    ]


def test_ticks_every_quarter_of_an_hour_guard_every_quarter_of_an_hour(database: Engine) -> None:
    begin(database, "5/1h,100/1h", policy=POLICY, tick_seconds=900)
    verdicts = []
    for errors in (1, 1, 900):
        hours_pass(database, 0.25)
        sample(database, "error_rate", errors, 1000)
        verdicts += [each.verdict for each in run_by_ledger(progress_rollouts, {})]
    assert verdicts == ["hold", "hold", "rollback"]
    assert rows_of(database, "SELECT count(DISTINCT slot) FROM health_check") == [(3,)]


def test_a_tick_that_judged_nothing_does_not_feed_the_dead_mans_switch(database: Engine) -> None:
    begin(database, policy=POLICY)
    stale = measure_now(database)
    with database.begin() as tx:
        manual.pause(tx, "rollout", "ada", "because")
    [outcome] = tick_on(database, stale)
    assert codes(outcome) == ["stale-tick"]
    assert rows_of(database, "SELECT ticked_at FROM rollout") == [(None,)]
    tick_now(database)
    assert rows_of(database, "SELECT ticked_at IS NULL FROM rollout") == [(False,)]
