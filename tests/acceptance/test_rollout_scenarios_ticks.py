"""Scenarios 1 to 9 of a rollout: what an hourly tick makes of what was measured.

Stages 5/2h, 25/4h, 50/8h, 75/12h, 100/24h; at least 500 samples a check, unless said.
"""

from __future__ import annotations

import logging

import pytest
from sqlalchemy import Engine

from flows.pipeline import run_by_ledger
from flows.rollout import progress_rollouts
from tasks.decisions import replay
from tasks.rollouts.definition.policy import CheckPolicy, GuardName, RolloutPolicy
from tests.database.rollouts import (
    BOTH_GUARDS,
    CHECKS,
    POLICY,
    an_hour,
    begin,
    codes,
    hours_pass,
    judged_by,
    sample,
    standing,
    tick_now,
    traffic,
)
from tests.rows import rows_of


def errors(guard: GuardName) -> RolloutPolicy:
    return RolloutPolicy(guard=guard, checks=CHECKS[:1])


@BOTH_GUARDS
def test_a_healthy_rollout_climbs_bakes_and_completes(database: Engine, guard: GuardName) -> None:
    """Scenario 1. Guard: threshold, and sequential."""
    assert begin(database, policy=judged_by(guard)).percentage == 5
    seen = {0: 5.0}
    for hour in range(1, 51):
        outcome = an_hour(database)
        if outcome.percentage != outcome.old_percentage:
            seen[hour] = outcome.percentage
        assert (outcome.verdict == "complete") == (hour == 50)
    assert seen == {0: 5, 2: 25, 6: 50, 14: 75, 26: 100}
    assert standing(database) == (100, "completed")
    changes = "SELECT cause, health_check_id IS NULL FROM rollout_change ORDER BY id"
    moves = [*["advance"] * 4, "complete"]
    assert rows_of(database, changes) == [("start", True), *((move, False) for move in moves)]
    checked = "SELECT metric, count(*) FROM health_check GROUP BY 1 ORDER BY 1"
    assert rows_of(database, checked) == [("accuracy", 50), ("error_rate", 50)]
    with database.connect() as connection:
        report = replay(connection)
    assert (report.replayed, report.differences) == (50, ())


@BOTH_GUARDS
def test_a_minute_before_the_stage_is_over_nothing_changes(
    database: Engine, guard: GuardName
) -> None:
    """Scenario 2. Guard: threshold, and sequential; the stage's clock is the database's."""
    begin(database, policy=judged_by(guard))
    hours_pass(database, 1 + 58.9 / 60)
    traffic(database)
    outcome = tick_now(database)
    assert (outcome.verdict, codes(outcome)) == ("hold", ["stage-time"])
    assert standing(database) == (5, "running")
    decision = "SELECT verdict, reasons -> 0 ->> 'code' FROM headway.decision"
    assert rows_of(database, decision) == [("hold", "stage-time")]


@pytest.mark.parametrize(("guard", "failed"), [("threshold", 60), ("sequential", 120)])
def test_harm_takes_it_to_nobody_in_that_tick_with_a_warning_and_an_alert(
    database: Engine, guard: GuardName, failed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Scenario 3. Guard: threshold, and sequential; verdict and rollback are one transaction."""
    begin(database, policy=judged_by(guard))
    hours_pass(database, 1)
    sample(database, "error_rate", failed, 1000)
    with caplog.at_level(logging.WARNING):
        [outcome] = run_by_ledger(progress_rollouts, {})
    assert (outcome.verdict, standing(database)) == ("rollback", (0, "rolled_back"))
    [warning] = [record.getMessage() for record in caplog.records]
    value = f"error_rate = {failed / 1000:g}"
    for named in ("rollout (v2)", "from 5 %", value, "< 0.05", "n=1000", "window 20"):
        assert named in warning
    rests_on = (
        "SELECT cause, old_percentage, new_percentage, metric, verdict, value, operator,"
        " limit_value, sample_count"
        " FROM rollout_change JOIN health_check ON health_check.id = health_check_id"
    )
    found = ("rollback", 5, 0, "error_rate", "unhealthy", failed / 1000, "<", 0.05, 1000)
    assert rows_of(database, rests_on) == [found]
    alerts = "SELECT subject, metric, severity, state FROM alert"
    assert rows_of(database, alerts) == [("rollout:1", "error_rate", "critical", "open")]


@pytest.mark.parametrize(
    ("metric", "value_sum"), [("error_rate", 50), ("latency", 200_000), ("accuracy", 750)]
)
def test_a_value_equal_to_its_limit_rolls_back(
    database: Engine, metric: str, value_sum: float
) -> None:
    """Scenario 4. Guard: threshold; the operator excludes the limit."""
    begin(database, policy=POLICY)
    sample(database, metric, value_sum, 1000)
    assert tick_now(database).verdict == "rollback"


def test_two_breaches_are_one_rollback_that_keeps_both_reasons(database: Engine) -> None:
    """Scenario 5. Guard: threshold; every check is judged before anything is decided."""
    begin(database, policy=POLICY)
    sample(database, "error_rate", 60, 1000)
    sample(database, "latency", 300_000, 1000)
    outcome = tick_now(database)
    assert codes(outcome)[:2] == ["limit-breached", "limit-breached"]
    [(reason,)] = rows_of(database, "SELECT reason FROM rollout_change WHERE cause = 'rollback'")
    assert "error_rate 0.06" in reason
    assert "latency 300" in reason
    unhealthy = "SELECT metric FROM alert WHERE severity = 'critical' ORDER BY 1"
    assert rows_of(database, unhealthy) == [("error_rate",), ("latency",)]


@BOTH_GUARDS
def test_without_samples_of_this_version_it_holds(database: Engine, guard: GuardName) -> None:
    """Scenario 6. Guard: threshold, and sequential; samples are read by their version."""
    begin(database, policy=judged_by(guard))
    hours_pass(database, 3)
    traffic(database, version="v1")
    outcome = tick_now(database)
    assert (outcome.verdict, set(codes(outcome))) == ("hold", {"no-data"})
    assert standing(database) == (5, "running")
    assert rows_of(database, "SELECT DISTINCT verdict, value FROM health_check") == [
        ("inconclusive", None)
    ]


def test_few_samples_hold_unless_the_policy_or_the_source_gives_a_plain_rate(
    database: Engine,
) -> None:
    """Scenario 7. Guard: threshold; a count below min_samples decides nothing."""
    begin(database, policy=POLICY)
    sample(database, "error_rate", 3, 20)
    outcome = tick_now(database)
    assert (outcome.verdict, codes(outcome)[0]) == ("hold", "too-few-samples")
    assert "fewer than 500" in outcome.reasons[0].message
    hours_pass(database, 0.2)
    sample(database, "error_rate", 0.15)
    assert tick_now(database).verdict == "rollback"
    plain = RolloutPolicy(checks=(CheckPolicy(check="error_rate", limit=0.05, min_samples=0),))
    second = begin(database, policy=plain, name="second", version="v3")
    sample(database, "error_rate", 3, 20, version="v3")
    assert tick_now(database, second.rollout_id).verdict == "rollback"


@BOTH_GUARDS
def test_few_good_samples_do_not_advance(database: Engine, guard: GuardName) -> None:
    """Scenario 8. Guard: threshold, and sequential; only evidence of health is healthy."""
    begin(database, policy=errors(guard))
    hours_pass(database, 2)
    sample(database, "error_rate", 0, 20)
    assert (tick_now(database).verdict, standing(database)) == ("hold", (5, "running"))


@BOTH_GUARDS
@pytest.mark.parametrize("value", ["NaN", "inf", "-inf", "1e308"])
def test_a_value_that_is_no_number_is_never_healthy(
    database: Engine, guard: GuardName, value: str
) -> None:
    """Scenario 9. Guard: threshold, and sequential; what cannot be added up is counted apart."""
    begin(database, policy=errors(guard))
    hours_pass(database, 2)
    for count in (None, 1000, 1000):
        sample(database, "error_rate", float(value), count)
    sample(database, "error_rate", 1, 1000)
    outcome = tick_now(database)
    assert (outcome.verdict, codes(outcome)) == ("hold", ["not-finite"])
