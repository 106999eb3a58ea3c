"""A tick of a batch: what it locks, compares, decides and writes."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tasks.errors import InputError, NotFound
from tasks.ledger import RunInfo, in_run
from tasks.rollouts.changes import manual
from tasks.rollouts.definition.freeze import FreezeOnce
from tasks.rollouts.definition.policy import CheckPolicy, RolloutPolicy
from tasks.rollouts.steps import ticking
from tasks.settings import load_settings
from tests.database.rollouts import (
    FAILING,
    HEALTHY,
    an_hour,
    begin,
    codes,
    hours_pass,
    measure_now,
    sample,
    standing,
    statements,
    tick_now,
    tick_on,
    traffic,
)
from tests.rows import rows_of

ERRORS = CheckPolicy(check="error_rate", limit=0.05)
ONLY_ERRORS = RolloutPolicy(checks=(ERRORS,))
SCHEDULE_ALL = """
    UPDATE rollout SET state = 'scheduled', percentage = 0,
        starts_at = headway.clock_now() + interval '1 hour'
"""


WAITING = """
SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
"""


def do(database: Engine, action: Callable[..., object], *values: object) -> None:
    with database.begin() as tx:
        action(tx, "rollout", *values, "ada", "because")


def test_a_tick_takes_as_many_statements_for_many_rollouts_as_for_one(database: Engine) -> None:
    versions = [f"v{number}" for number in range(1, 31)]
    ids = [begin(database, name=each, version=each).rollout_id for each in versions]
    hours_pass(database, 2)
    for number, version in enumerate(versions):
        traffic(
            database,
            FAILING if number % 10 == 0 else FAILING.model_copy(update={"error_rate": 0.01}),
            version=version,
        )
    one = statements(database, lambda: tick_on(database, measure_now(database, ids[0])))
    many = statements(database, lambda: tick_on(database, measure_now(database, *ids[1:])))
    assert many == one
    standings = "SELECT state, percentage, count(*) FROM rollout GROUP BY 1, 2 ORDER BY 1"
    assert rows_of(database, standings) == [("running", 25, 27), ("rolled_back", 0, 3)]
    assert rows_of(database, "SELECT count(*) FROM alert") == [(3,)]


def test_what_was_changed_since_it_was_measured_waits_for_the_next_tick(database: Engine) -> None:
    begin(database, policy=ONLY_ERRORS)
    sample(database, "error_rate", 80, 1000)
    measured = measure_now(database)
    do(database, manual.pause)
    [stale] = tick_on(database, measured, "2026-11-20T14:00Z")
    assert (stale.verdict, codes(stale)) == ("skip", ["stale-tick"])
    assert standing(database) == (5, "paused")
    assert rows_of(database, "SELECT verdict FROM headway.decision") == [("skip",)]
    assert rows_of(database, "SELECT count(*) FROM health_check") == [(0,)]
    # The slot is not decided by that, so that running it again guards at once.
    assert tick_now(database, slot="2026-11-20T14:00Z").verdict == "rollback"


def test_a_rollback_by_hand_beats_what_was_measured_before(database: Engine) -> None:
    begin(database)
    hours_pass(database, 2)
    traffic(database)
    measured = measure_now(database)
    do(database, manual.roll_back)
    [outcome] = tick_on(database, measured)
    assert (outcome.verdict, codes(outcome)) == ("skip", ["terminal"])
    assert standing(database) == (0, "rolled_back")


def test_whoever_is_looked_at_says_when_although_nothing_is_decided(database: Engine) -> None:
    begin(database)
    slot = "2026-11-20T14:00Z"
    tick_now(database, slot=slot)
    [(before,)] = rows_of(database, "SELECT ticked_at FROM rollout")
    hours_pass(database, 1)
    assert codes(tick_now(database, slot=slot)) == ["slot-decided"]
    hours_pass(database, 1)
    assert codes(tick_now(database, slot="2026-11-20T13:00Z")) == ["stale-slot"]
    [(after, version)] = rows_of(database, "SELECT ticked_at, version FROM rollout")
    assert (after - before).total_seconds() > 7000
    assert version == 1


def test_a_scheduled_rollout_starts_when_it_is_due_and_no_check_is_made_before(
    database: Engine,
) -> None:
    begin(database, policy=ONLY_ERRORS)
    with database.begin() as tx:
        tx.execute(text(SCHEDULE_ALL))
    early = tick_now(database)
    assert (early.verdict, codes(early)) == ("hold", ["not-yet"])
    hours_pass(database, 1)
    slot = "2030-01-01T00:00Z"
    assert tick_now(database, slot=slot).verdict == "start"
    assert standing(database) == (5, "running")
    assert codes(tick_now(database, slot=slot)) == ["slot-decided"]
    last = "SELECT cause, old_state, new_state, slot FROM rollout_change ORDER BY id DESC LIMIT 1"
    assert rows_of(database, last) == [("start", "scheduled", "running", slot)]
    assert rows_of(database, "SELECT count(*) FROM health_check") == [(0,)]


@pytest.mark.parametrize(
    ("second", "code"),
    [
        ({"version": "v2"}, "version-taken"),
        ({"version": "v3", "exclusion_group": "checkout"}, "group-taken"),
    ],
)
def test_of_two_that_are_due_for_one_place_the_first_starts_and_the_other_waits(
    database: Engine, second: dict[str, Any], code: str
) -> None:
    begin(database, name="first", exclusion_group="checkout")
    with database.begin() as tx:
        tx.execute(text(SCHEDULE_ALL))
        tx.execute(text("UPDATE rollout SET state = 'draft'"))
    begin(database, name="second", **second)
    with database.begin() as tx:
        tx.execute(text(SCHEDULE_ALL))
    hours_pass(database, 1)
    first, other = tick_on(database, measure_now(database, 1, 2))
    assert (first.verdict, other.verdict, codes(other)) == ("start", "hold", [code])
    assert "first" in other.reasons[0].message
    hours_pass(database, 1)
    assert codes(tick_now(database, 2)) == [code]
    with database.begin() as tx:
        manual.roll_back(tx, "first", "ada", "because")
    hours_pass(database, 1)
    assert tick_now(database, 2).verdict == "start"


def test_a_start_that_somebody_else_makes_meanwhile_is_waited_for(
    database: Engine, run: RunInfo
) -> None:
    """A real transaction starts the same version while the tick writes: it is tried again."""
    begin(database, name="first")
    begin(database, name="second", version="v3")
    with database.begin() as tx:
        tx.execute(text(SCHEDULE_ALL))
        tx.execute(text("UPDATE rollout SET model_version = 'v2'"))
    hours_pass(database, 1)
    measured = ticking.measure_health(rollout_ids=[2])
    with database.connect() as other, ThreadPoolExecutor(1) as worker:
        other.execute(text("UPDATE rollout SET state = 'running', percentage = 5 WHERE id = 1"))
        tried = worker.submit(_tick_in_run, run, measured)
        _await_lock(database)
        other.commit()
        [outcome] = tried.result()
    assert (outcome.verdict, codes(outcome)) == ("hold", ["version-taken"])
    failed = rows_of(database, "SELECT error_message, is_retryable FROM headway.step_attempt")
    assert failed == [
        ("another rollout of the version or the group started at the same moment", True)
    ]


def _tick_in_run(run: RunInfo, measured: Any) -> Any:
    with in_run(run):
        return ticking.progress_rollouts(measured=measured, slot="2026-11-20T14:00Z")


def _await_lock(database: Engine) -> None:
    for _ in range(500):
        if rows_of(database, WAITING):
            return
        time.sleep(0.01)
    raise AssertionError("nobody waits for a lock")


def test_a_freeze_forbids_steps_up_and_starts_but_no_rollback(database: Engine) -> None:
    begin(database)
    [(now,)] = rows_of(database, "SELECT headway.clock_now()")
    freeze = FreezeOnce(since=now, until=now.replace(year=now.year + 1))
    policy = RolloutPolicy(freezes=(freeze,)).model_dump_json()
    with database.begin() as tx:
        tx.execute(text("UPDATE rollout SET policy = CAST(:policy AS jsonb)"), {"policy": policy})
    hours_pass(database, 2)
    traffic(database)
    held = tick_now(database)
    assert (held.verdict, codes(held)) == ("hold", ["frozen"])
    with database.begin() as tx:
        tx.execute(text(SCHEDULE_ALL))
    hours_pass(database, 2)
    assert codes(tick_now(database)) == ["frozen"]
    with database.begin() as tx:
        tx.execute(text("UPDATE rollout SET state = 'running', percentage = 5"))
    sample(database, "error_rate", 900, 1000)
    hours_pass(database, 1)
    assert tick_now(database).verdict == "rollback"


def test_a_rollback_may_need_several_unhealthy_ticks_in_a_row(database: Engine) -> None:
    check = CheckPolicy(check="error_rate", limit=0.05, consecutive=3, window_hours=1)
    begin(database, policy=RolloutPolicy(checks=(check,)))
    good = FAILING.model_copy(update={"error_rate": 0.01})
    # What is not known (None) breaks no row; what is healthy does.
    kinds = (FAILING, FAILING, good, FAILING, None, FAILING, FAILING)
    verdicts = [an_hour(database, kind).verdict for kind in kinds]
    assert verdicts == [*["hold"] * 2, "advance", *["hold"] * 3, "rollback"]
    severities = "SELECT new_state, note LIKE 'warning to critical%' FROM alert_change ORDER BY id"
    assert rows_of(database, severities) == [("open", False), ("open", True)]


@pytest.mark.parametrize(
    ("changes", "verdict", "severity"),
    [
        ({"action": "hold"}, "hold", "warning"),
        ({"action": "warn"}, "advance", "warning"),
        ({"is_shadow": True}, "advance", None),
    ],
)
def test_a_check_may_hold_or_only_warn_or_only_be_shown(
    database: Engine, changes: dict[str, Any], verdict: str, severity: str | None
) -> None:
    errors = ERRORS.model_copy(update=changes)
    latency = CheckPolicy(check="latency", limit=200)
    begin(database, policy=RolloutPolicy(checks=(errors, latency)))
    hours_pass(database, 1)
    outcome = an_hour(database, FAILING)
    assert outcome.verdict == verdict
    [(found,)] = rows_of(database, "SELECT verdict FROM health_check WHERE metric = 'error_rate'")
    assert found == "unhealthy"
    assert rows_of(database, "SELECT metric, severity FROM alert") == (
        [] if severity is None else [("error_rate", severity)]
    )


def test_what_all_versions_suffer_holds_and_alerts(database: Engine) -> None:
    policy = RolloutPolicy(checks=(ERRORS,), guard="sequential")
    begin(database, policy=policy, control_version="v1")
    hours_pass(database, 2)
    for version in ("v1", "v2"):
        sample(database, "error_rate", 400, 2000, version=version)
    outcome = tick_now(database)
    assert (outcome.verdict, standing(database)) == ("hold", (5, "running"))
    shared = "SELECT verdict, is_shared, control_value, control_count FROM health_check"
    assert rows_of(database, shared) == [("unhealthy", True, 0.2, 2000)]
    assert rows_of(database, "SELECT severity, details -> 'is_shared' FROM alert") == [
        ("critical", True)
    ]


def test_an_alert_is_resolved_by_healthy_ticks_and_not_by_missing_data(database: Engine) -> None:
    check = CheckPolicy(check="error_rate", limit=0.05, window_hours=1, action="warn")
    latency = CheckPolicy(check="latency", limit=1e6)
    begin(database, policy=RolloutPolicy(checks=(check, latency)))
    an_hour(database, FAILING)
    state = "SELECT state, healthy_streak FROM alert"
    assert rows_of(database, state) == [("open", 0)]
    for _ in range(4):
        an_hour(database, None)
    assert rows_of(database, state) == [("open", 0)]
    for _ in range(3):
        an_hour(database)
    assert rows_of(database, state) == [("resolved", 3)]


def test_every_move_is_told_with_its_version_and_a_rollback_to_people_as_well(
    database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = '{"programs": {"kind": "webhook", "url": "http://127.0.0.1:1/"}}'
    monkeypatch.setenv("HEADWAY_NOTIFY", channel)
    load_settings.cache_clear()
    begin(database, policy=ONLY_ERRORS)
    verdicts = [an_hour(database, kind).verdict for kind in (HEALTHY, HEALTHY, FAILING)]
    assert verdicts == ["hold", "advance", "rollback"]
    told = rows_of(
        database,
        "SELECT kind, payload #>> '{details,cause}', payload #> '{details,version}'"
        " FROM notification ORDER BY id",
    )
    assert told == [
        ("rollout-changed", "start", 1),
        ("rollout-changed", "advance", 2),
        ("alert", None, None),
        ("rollout-changed", "rollback", 3),
        ("rollout-rolled-back", "rollback", 3),
    ]
    changes = "SELECT cause, version FROM rollout_change ORDER BY id"
    assert rows_of(database, changes) == [("start", 1), ("advance", 2), ("rollback", 3)]


def test_a_slot_to_come_is_refused_so_that_the_guard_stays_awake(
    database: Engine, run: RunInfo
) -> None:
    begin(database)
    with pytest.raises(InputError, match="slot 2999-01-01T00:00Z is still to come"):
        ticking.plan_tick(slot="2999-01-01")
    assert an_hour(database, FAILING).verdict == "rollback"


def test_a_rollout_that_is_gone_is_said_so(database: Engine) -> None:
    begin(database)
    [measured] = measure_now(database)
    with pytest.raises(NotFound, match="no rollout with the number 7"):
        tick_on(database, [measured.model_copy(update={"rollout_id": 7})])
