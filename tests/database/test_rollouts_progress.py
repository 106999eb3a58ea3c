from __future__ import annotations

import logging

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from tasks.decisions import replay
from tasks.errors import InputError
from tasks.ledger import RunInfo
from tasks.rollouts import steps_tick
from tasks.rollouts.policy import CheckPolicy, RolloutPolicy
from tests.database.rollouts import (
    FAILING,
    an_hour,
    begin,
    codes,
    hours_pass,
    sample,
    standing,
    tick_by_steps,
    tick_now,
    traffic,
)
from tests.rows import rows_of

ONLY_ERRORS = RolloutPolicy(checks=(CheckPolicy(check="error_rate", limit=0.05),))
LAST_HOUR = RolloutPolicy(checks=(CheckPolicy(check="error_rate", limit=0.05, window_hours=1),))
CHANGES = "SELECT cause, old_percentage, new_percentage FROM rollout_change ORDER BY id"


def test_a_healthy_rollout_climbs_bakes_and_completes(database: Engine) -> None:
    assert begin(database).percentage == 5
    seen = {0: 5.0}
    for hour in range(1, 51):
        outcome = an_hour(database)
        if outcome.percentage != outcome.old_percentage:
            seen[hour] = outcome.percentage
        assert (outcome.verdict == "complete") == (hour == 50)
    assert seen == {0: 5, 2: 25, 6: 50, 14: 75, 26: 100}
    assert standing(database) == (100, "completed")
    assert [row[0] for row in rows_of(database, CHANGES)] == ["start", *["advance"] * 4, "complete"]
    assert rows_of(database, "SELECT count(*) FROM health_check") == [(150,)]
    with database.connect() as connection:
        report = replay(connection)
    assert (report.replayed, report.differences) == (50, ())


def test_before_the_stage_is_over_nothing_changes(database: Engine) -> None:
    begin(database)
    hours_pass(database, 1 + 58.9 / 60)
    traffic(database)
    outcome = tick_now(database)
    assert (outcome.verdict, codes(outcome)) == ("hold", ["stage-time"])
    assert standing(database) == (5, "running")
    assert rows_of(database, "SELECT verdict, reasons->0->>'code' FROM headway.decision") == [
        ("hold", "stage-time")
    ]


def test_harm_takes_it_to_nobody_in_that_tick_with_a_warning(
    database: Engine, run: RunInfo, caplog: pytest.LogCaptureFixture
) -> None:
    begin(database)
    hours_pass(database, 1)
    sample(database, "error_rate", 60, 1000)
    with caplog.at_level(logging.WARNING):
        [outcome] = tick_by_steps("2026-11-20T14:00Z")
    assert outcome.verdict == "rollback"
    assert standing(database) == (0, "rolled_back")
    [warning] = [record.getMessage() for record in caplog.records]
    for named in ("rollout (v2)", "from 5 %", "error_rate = 0.06", "< 0.05", "n=1000", "window 20"):
        assert named in warning
    found = rows_of(
        database,
        "SELECT cause, new_percentage, metric, verdict, value, operator, limit_value, sample_count"
        " FROM rollout_change JOIN health_check ON health_check.id = health_check_id",
    )
    assert found == [("rollback", 0, "error_rate", "unhealthy", 0.06, "<", 0.05, 1000)]


@pytest.mark.parametrize(
    ("metric", "value_sum"), [("error_rate", 50), ("latency", 200_000), ("accuracy", 750)]
)
def test_a_value_equal_to_its_limit_rolls_back(
    database: Engine, metric: str, value_sum: float
) -> None:
    begin(database)
    sample(database, metric, value_sum, 1000)
    assert tick_now(database).verdict == "rollback"


def test_two_breaches_are_one_rollback_that_keeps_both_reasons(database: Engine) -> None:
    begin(database)
    sample(database, "error_rate", 60, 1000)
    sample(database, "latency", 300_000, 1000)
    outcome = tick_now(database)
    assert codes(outcome)[:2] == ["limit-breached", "limit-breached"]
    assert len(rows_of(database, "SELECT 1 FROM rollout_change WHERE cause = 'rollback'")) == 1
    [(reason,)] = rows_of(database, "SELECT reason FROM rollout_change WHERE cause = 'rollback'")
    assert "error_rate 0.06" in reason
    assert "latency 300" in reason


def test_without_samples_of_this_version_it_holds(database: Engine) -> None:
    begin(database)
    hours_pass(database, 3)
    traffic(database, version="v1")
    outcome = tick_now(database)
    assert (outcome.verdict, set(codes(outcome))) == ("hold", {"no-data"})
    assert standing(database) == (5, "running")


def test_few_samples_hold_unless_the_policy_or_the_source_gives_a_plain_rate(
    database: Engine,
) -> None:
    begin(database)
    sample(database, "error_rate", 3, 20)
    outcome = tick_now(database)
    assert (outcome.verdict, codes(outcome)[0]) == ("hold", "too-few-samples")
    hours_pass(database, 0.2)
    sample(database, "error_rate", 0.15)
    assert tick_now(database).verdict == "rollback"
    plain = RolloutPolicy(checks=(CheckPolicy(check="error_rate", limit=0.05, min_samples=0),))
    second = begin(database, policy=plain, name="second", version="v3")
    sample(database, "error_rate", 3, 20, version="v3")
    assert tick_now(database, second.rollout_id).verdict == "rollback"


def test_few_good_samples_do_not_advance(database: Engine) -> None:
    begin(database, policy=ONLY_ERRORS)
    hours_pass(database, 2)
    sample(database, "error_rate", 0, 20)
    assert tick_now(database).verdict == "hold"


@pytest.mark.parametrize("value", ["NaN", "inf", "-inf"])
@pytest.mark.parametrize("count", [None, 1000])
def test_a_value_that_is_no_number_is_never_healthy(
    database: Engine, value: str, count: int | None
) -> None:
    begin(database, policy=ONLY_ERRORS)
    hours_pass(database, 2)
    sample(database, "error_rate", float(value), count)
    outcome = tick_now(database)
    assert (outcome.verdict, codes(outcome)) == ("hold", ["not-finite"])


def test_a_source_that_cannot_be_read_holds_and_the_next_tick_recovers(database: Engine) -> None:
    begin(database)
    hours_pass(database, 1)
    with database.begin() as tx:
        tx.execute(text("ALTER TABLE health_sample RENAME TO health_sample_elsewhere"))
    outcome = tick_now(database)
    assert (outcome.verdict, set(codes(outcome)[:3])) == ("hold", {"source-error"})
    assert rows_of(database, "SELECT source_error_count FROM rollout") == [(1,)]
    with database.begin() as tx:
        tx.execute(text("ALTER TABLE health_sample_elsewhere RENAME TO health_sample"))
    assert an_hour(database).verdict == "advance"
    assert rows_of(database, "SELECT source_error_count FROM rollout") == [(0,)]


def test_health_unknown_for_too_long_rolls_back_where_the_policy_says_so(
    database: Engine,
) -> None:
    begin(database, policy=RolloutPolicy(max_hold_hours=6, max_hold_action="rollback"))
    verdicts = [an_hour(database, None).verdict for _ in range(7)]
    assert verdicts == [*["hold"] * 6, "rollback"]
    assert standing(database) == (0, "rolled_back")


def test_health_unknown_for_too_long_is_escalated_once_where_it_only_holds(
    database: Engine, run: RunInfo, caplog: pytest.LogCaptureFixture
) -> None:
    begin(database, policy=RolloutPolicy(max_hold_hours=6))
    with caplog.at_level(logging.WARNING):
        for hour in range(10):
            hours_pass(database, 1)
            tick_by_steps(f"2026-11-20T{hour:02}:00Z")
    warned = [record.getMessage() for record in caplog.records]
    assert standing(database) == (5, "running")
    assert len([line for line in warned if "health has not been known for 6 h" in line]) == 1


def test_ticks_after_a_rollback_change_no_row(database: Engine) -> None:
    begin(database)
    an_hour(database, FAILING)
    tables = (
        "SELECT version FROM rollout",
        "SELECT count(*) FROM health_check",
        "SELECT count(*) FROM rollout_change",
    )
    before = [rows_of(database, query) for query in tables]
    for _ in range(10):
        outcome = an_hour(database)
        assert (outcome.verdict, codes(outcome)) == ("skip", ["terminal"])
    assert [rows_of(database, query) for query in tables] == before


def test_after_an_outage_it_climbs_one_stage_and_that_stage_is_whole(database: Engine) -> None:
    begin(database)
    hours_pass(database, 8.5)
    assert [an_hour(database).percentage for _ in range(5)] == [25, 25, 25, 25, 50]


def test_a_burst_of_late_ticks_makes_one_transition(database: Engine) -> None:
    begin(database)
    hours_pass(database, 9.5)
    traffic(database)
    verdicts = [
        tick_now(database, slot=f"2026-11-20T{hour:02}:00Z").verdict for hour in range(1, 10)
    ]
    assert verdicts == ["advance", *["hold"] * 8]
    assert standing(database) == (25, "running")


def test_a_repeated_slot_and_an_older_one_do_nothing(database: Engine) -> None:
    begin(database)
    hours_pass(database, 3)
    traffic(database)
    assert tick_now(database, slot="2026-11-20T10:00Z").verdict == "advance"
    hours_pass(database, 9)
    sample(database, "error_rate", 900, 1000)
    for slot, code in (
        ("2026-11-20T10:00Z", "slot-decided"),
        ("2026-11-20T09:00Z", "stale-slot"),
    ):
        outcome = tick_now(database, slot=slot)
        assert (outcome.verdict, codes(outcome)) == ("skip", [code])
    assert standing(database) == (25, "running")


def test_a_slot_to_come_is_refused_so_that_the_guard_stays_awake(
    database: Engine, run: RunInfo
) -> None:
    begin(database)
    with pytest.raises(InputError, match="slot 2999-01-01T00:00Z is still to come"):
        steps_tick.plan_tick(slot="2999-01-01")
    assert an_hour(database, FAILING).verdict == "rollback"


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
    with database.begin() as tx:
        tx.execute(
            text(
                "SELECT record_health_sample('v2', 'error_rate', 900, 1000,"
                " headway.clock_now() - interval '30 minutes')"
            )
        )
    hours_pass(database, 1)
    sample(database, "error_rate", 1, 1000)
    assert tick_now(database).verdict == "advance"
    assert rows_of(database, "SELECT * FROM health_check ORDER BY id LIMIT 1") == before


def test_the_database_refuses_a_rolled_back_rollout_that_is_still_exposed(
    database: Engine,
) -> None:
    begin(database)
    with pytest.raises(IntegrityError, match="rolled_back_is_zero"), database.begin() as tx:
        tx.execute(text("UPDATE rollout SET state = 'rolled_back', finished_at = now()"))


@pytest.mark.parametrize("percentage", ["-1", "101", "'NaN'"])
def test_the_database_refuses_an_impossible_percentage(database: Engine, percentage: str) -> None:
    begin(database)
    with pytest.raises(IntegrityError, match="percentage"), database.begin() as tx:
        tx.execute(text(f"UPDATE rollout SET percentage = {percentage}"))
