"""Scenarios 10 to 12, 20, 21 and 39 of a rollout: sources, schedulers and databases that fail."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from flows.pipeline import run_by_ledger
from flows.rollout import progress_rollouts
from tasks import retries
from tasks.database import create_engine
from tasks.errors import ItemsFailed
from tasks.ledger import Point, observers
from tasks.rollouts.definition.policy import GuardName, RolloutPolicy
from tests.database.rollouts import (
    BOTH_GUARDS,
    CHECKS,
    FAILING,
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

ROLLBACKS = "SELECT count(*) FROM rollout_change WHERE cause = 'rollback'"
REFUSE_SOME = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF NEW.name IN ('r3', 'r7') THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $$;
    CREATE TRIGGER refuse BEFORE UPDATE ON rollout FOR EACH ROW EXECUTE FUNCTION refuse();
"""
TERMINATE = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = :name"


def without_samples(**hold: Any) -> RolloutPolicy:
    return RolloutPolicy(checks=CHECKS, max_hold_hours=6, **hold)


@BOTH_GUARDS
def test_a_source_that_cannot_be_read_holds_and_the_next_tick_recovers(
    database: Engine, guard: GuardName
) -> None:
    """Scenario 10. Guard: threshold, and sequential; an error is inconclusive, counted apart."""
    begin(database, policy=judged_by(guard))
    hours_pass(database, 1)
    with database.begin() as tx:
        tx.execute(text("ALTER TABLE health_sample RENAME TO health_sample_elsewhere"))
    outcome = tick_now(database)
    assert (outcome.verdict, set(codes(outcome)[:2])) == ("hold", {"source-error"})
    assert rows_of(database, "SELECT source_error_count FROM rollout") == [(1,)]
    alerts = "SELECT metric, severity, state FROM alert"
    assert rows_of(database, alerts) == [("health source", "warning", "open")]
    with database.begin() as tx:
        tx.execute(text("ALTER TABLE health_sample_elsewhere RENAME TO health_sample"))
    assert an_hour(database).verdict == "advance"
    assert rows_of(database, "SELECT source_error_count FROM rollout") == [(0,)]
    assert rows_of(database, alerts) == [("health source", "warning", "resolved")]


def test_health_unknown_for_too_long_rolls_back_where_the_policy_says_so(database: Engine) -> None:
    """Scenario 11. Guard: threshold; the time since which health is not known."""
    begin(database, policy=without_samples(max_hold_action="rollback"))
    assert [an_hour(database, None).verdict for _ in range(7)] == [*["hold"] * 6, "rollback"]
    assert standing(database) == (0, "rolled_back")
    assert rows_of(database, "SELECT metric, severity FROM alert") == [
        ("health unknown", "critical")
    ]


def test_health_unknown_for_too_long_is_escalated_once_where_it_only_holds(
    database: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """Scenario 11. Guard: threshold; the row remembers that it was escalated."""
    begin(database, policy=without_samples())
    with caplog.at_level(logging.WARNING):
        for _ in range(10):
            hours_pass(database, 1)
            run_by_ledger(progress_rollouts, {})
    assert standing(database) == (5, "running")
    warned = [line for line in caplog.messages if "health has not been known for 6 h" in line]
    assert len(warned) == 1
    alerts = "SELECT metric, severity, state, occurrences FROM alert"
    assert rows_of(database, alerts) == [("health unknown", "warning", "open", 1)]
    assert an_hour(database).verdict == "advance"
    assert rows_of(database, alerts) == [("health unknown", "warning", "resolved", 1)]


@BOTH_GUARDS
def test_ticks_after_a_rollback_change_no_row(database: Engine, guard: GuardName) -> None:
    """Scenario 12. Guard: threshold, and sequential; an end is an end, under the lock."""
    begin(database, policy=judged_by(guard))
    an_hour(database, FAILING.model_copy(update={"error_rate": 0.2}))
    tables = ("rollout", "health_check", "rollout_change", "alert", "alert_change")
    before = [rows_of(database, f"SELECT * FROM {table}") for table in tables]
    for _ in range(10):
        outcome = an_hour(database)
        assert (outcome.verdict, codes(outcome)) == ("skip", ["terminal"])
    assert [rows_of(database, f"SELECT * FROM {table}") for table in tables] == before


@BOTH_GUARDS
def test_after_an_outage_it_climbs_one_stage_and_that_stage_is_whole(
    database: Engine, guard: GuardName
) -> None:
    """Scenario 20. Guard: threshold, and sequential; the stage begins when it is entered."""
    begin(database, policy=judged_by(guard))
    hours_pass(database, 8.5)
    assert [an_hour(database).percentage for _ in range(5)] == [25, 25, 25, 25, 50]


def test_nine_late_runs_within_a_minute_make_one_transition(database: Engine) -> None:
    """Scenario 21. Guard: threshold; a slot that is past, and the stage's time."""
    begin(database, policy=POLICY)
    hours_pass(database, 9.5)
    traffic(database)
    slots = [f"2020-02-20T{hour:02}:00Z" for hour in range(1, 10)]
    outcomes = [run_by_ledger(progress_rollouts, {"slot": slot})[0] for slot in slots]
    assert [each.verdict for each in outcomes] == ["advance", *["hold"] * 8]
    assert standing(database) == (25, "running")
    repeated = run_by_ledger(progress_rollouts, {"slot": slots[-1]})
    assert [codes(each) for each in repeated] == [["slot-decided"]]
    [earlier] = run_by_ledger(progress_rollouts, {"slot": slots[0]})
    assert (earlier.verdict, codes(earlier)) == ("skip", ["stale-slot"])


def test_rollouts_that_cannot_be_written_stop_no_other_and_are_named(database: Engine) -> None:
    """Guard: a batch that fails is halved until the failing rollouts stand alone."""
    for number in range(9):
        begin(database, policy=POLICY, name=f"r{number}", version=f"v{number}")
    with database.begin() as tx:
        tx.execute(text(REFUSE_SOME))
    hours_pass(database, 1)
    with pytest.raises(ItemsFailed, match=r"2 rollouts failed: r3: \w+: no; r7: \w+: no$"):
        run_by_ledger(progress_rollouts, {})
    looked_at = "SELECT name FROM rollout WHERE ticked_at IS NULL ORDER BY id"
    assert rows_of(database, looked_at) == [("r3",), ("r7",)]
    assert rows_of(database, "SELECT count(DISTINCT rollout_id) FROM health_check") == [(7,)]
    assert rows_of(database, "SELECT count(*) FROM headway.decision") == [(7,)]


def test_a_serialization_error_is_tried_again(database: Engine) -> None:
    """Scenario 39. Guard: the ledger; a step is one transaction, tried again as a whole."""
    begin(database, policy=POLICY)
    sample(database, "error_rate", 80, 1000)
    with database.begin() as tx:
        name = tx.scalar(text("SELECT current_database()"))
        isolated = f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'"
        tx.execute(text(isolated))
    with database.connect() as other, ThreadPoolExecutor(1) as worker:
        other.execute(text("UPDATE rollout SET organization = 'acme'"))
        ticking = worker.submit(run_by_ledger, progress_rollouts, {"slot": None})
        _await(database, "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        other.commit()
        [outcome] = ticking.result()
    assert (outcome.verdict, standing(database)) == ("rollback", (0, "rolled_back"))
    failed = "SELECT name, error_message FROM headway.step_attempt"
    [(step, message)] = rows_of(database, failed)
    assert (step, "could not serialize access" in message) == ("progress-rollouts", True)
    assert rows_of(database, ROLLBACKS) == [(1,)]


def test_an_unreachable_database_fails_the_run_and_the_next_tick_tries_again(
    database: Engine, cut_before_commit: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario 39. Guard: verdict and percentage commit together, or neither does."""
    monkeypatch.setattr(retries, "FIRST_DELAY_SECONDS", 0.01)
    for name in ("rollout", "other"):
        begin(database, policy=POLICY, name=name, version=f"version of {name}")
        sample(database, "error_rate", 80, 1000, version=f"version of {name}")
    with pytest.raises(ItemsFailed, match="2 rollouts failed: rollout: OperationalError"):
        run_by_ledger(progress_rollouts, {})
    cut_before_commit()
    assert rows_of(database, "SELECT DISTINCT percentage, state FROM rollout") == [(5, "running")]
    assert rows_of(database, "SELECT count(*) FROM health_check") == [(0,)]
    hours_pass(database, 1)
    assert [each.verdict for each in run_by_ledger(progress_rollouts, {})] == ["rollback"] * 2
    assert rows_of(database, ROLLBACKS) == [(2,)]


@pytest.fixture
def cut_before_commit(database: Engine, server_url: str) -> Iterator[Callable[[], None]]:
    """The database goes away when a tick is about to commit; comes back by a call."""
    name = rows_of(database, "SELECT current_database()")[0][0]
    admin = create_engine(server_url).execution_options(isolation_level="AUTOCOMMIT")

    def let_in(is_open: bool) -> None:
        with admin.connect() as connection:
            connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {is_open}"))

    def cut(point: Point, key: str, _tx: Connection | None) -> None:
        if point is Point.BEFORE_COMMIT and "progress-rollouts" in key:
            let_in(False)
            with admin.connect() as connection:
                connection.execute(text(TERMINATE), {"name": name})

    def come_back() -> None:
        observers.remove(cut)
        let_in(True)

    observers.append(cut)
    yield come_back
    admin.dispose()


def _await(database: Engine, query: str) -> None:
    for _ in range(500):
        if rows_of(database, query):
            return
        time.sleep(0.01)
    raise AssertionError(f"nothing came of {query}")
