"""Between ticks: what does harm is found at once, each breach once, and nobody is forgotten."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextvars import copy_context
from threading import Event, Thread

import pytest
from sqlalchemy import Engine, text

from flows import watch
from flows.pipeline import run_by_ledger
from flows.watch import check_ticks
from tasks.alerts.model import AlertNews
from tasks.rollouts.definition.policy import CheckPolicy, RolloutPolicy
from tasks.rollouts.steps.secrets import resolve_secrets
from tasks.rollouts.watch import listening
from tasks.rollouts.watch.watching import Breach, find_breaches
from tests.database.rollouts import (
    FAILING,
    HEALTHY,
    begin,
    hours_pass,
    sample,
    standing,
    tick_now,
    traffic,
)
from tests.rows import rows_of

ALERTS = "SELECT subject, metric, severity, state FROM alert ORDER BY id"


def breaches(database: Engine, *versions: str) -> list[Breach]:
    with database.begin() as tx:
        return find_breaches(tx, resolve_secrets, list(versions) or None)


def look(emitted: dict[tuple[int, int], float]) -> list[tuple[Breach, bool]]:
    found: list[tuple[Breach, bool]] = []
    watch.look(None, lambda *each: found.append(each), emitted)
    return found


def test_a_version_that_does_harm_is_found_and_nothing_is_changed(database: Engine) -> None:
    begin(database)
    hours_pass(database, 0.5)
    traffic(database, FAILING)
    [breach] = breaches(database, "v2", "v9")
    assert (breach.name, breach.percentage) == ("rollout", 5.0)
    assert "error_rate 0.08" in breach.reason
    assert breaches(database, "v1") == []
    assert standing(database) == (5.0, "running")
    assert rows_of(database, "SELECT count(*) FROM health_check") == [(0,)]


def test_samples_are_judged_without_waiting_for_sources_elsewhere(database: Engine) -> None:
    away = {"kind": "http", "url": "http://127.0.0.1:1/", "value": ""}
    slow = CheckPolicy.model_validate({"check": "latency", "limit": 200, "source": away})
    fast = CheckPolicy(check="error_rate", limit=0.05)
    begin(database, policy=RolloutPolicy(checks=(slow, fast)))
    hours_pass(database, 0.5)
    traffic(database, FAILING)
    started = time.monotonic()
    [breach] = breaches(database, "v2")
    assert [check.check for check in breach.checks] == ["error_rate"]
    assert time.monotonic() - started < 1  # the other one would be tried three times


@pytest.mark.parametrize("state", ["paused", "manual_hold"])
def test_a_rollout_that_stands_is_watched_too(database: Engine, state: str) -> None:
    begin(database)
    hours_pass(database, 0.5)
    traffic(database, FAILING)
    with database.begin() as tx:
        tx.execute(
            text(
                "UPDATE rollout SET state = CAST(:state AS rollout_state), "
                "paused_at = CASE :state WHEN 'paused' THEN now() END"
            ),
            {"state": state},
        )
    assert len(breaches(database)) == 1


def test_what_is_healthy_unknown_only_held_at_or_not_watched_is_no_breach(database: Engine) -> None:
    check = CheckPolicy(check="error_rate", limit=0.05, action="hold")
    begin(database, policy=RolloutPolicy(checks=(check,)))
    begin(database, name="healthy", version="v3")
    begin(database, name="by the hour", version="v5", policy=RolloutPolicy(is_watched=False))
    begin(database, name="silent", version="v4", policy=RolloutPolicy(max_hold_action="rollback"))
    hours_pass(database, 30)
    tick_now(database, 3)
    hours_pass(database, 30)
    traffic(database, FAILING)
    traffic(database, HEALTHY, "v3")
    traffic(database, FAILING, "v5")
    assert breaches(database) == []


def test_a_breach_is_told_once_and_again_when_nobody_acted(
    database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(database)
    hours_pass(database, 0.5)
    traffic(database, FAILING)
    emitted: dict[tuple[int, int], float] = {}
    assert [[is_first for _, is_first in look(emitted)] for _ in range(3)] == [[True], [], []]
    assert rows_of(database, ALERTS) == [("rollout:1", "error_rate", "critical", "open")]
    monkeypatch.setattr(watch, "PATIENCE_SECONDS", 0.0)
    [(breach, is_first)] = look(emitted)
    assert not is_first
    watch.act(breach, is_first)  # nobody acted on the event: it is rolled back here
    assert standing(database) == (0.0, "rolled_back")
    assert look(emitted) == []


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(listening, "_FIRST_DELAY_SECONDS", 0.05)


@pytest.fixture
def watcher(database: Engine, quick: None, no_prefect_server: None) -> Iterator[None]:
    """`headway watch` in a thread; it acts by itself, where no Prefect server is."""
    over = Event()
    # Prefect's settings are those of the context, and a thread begins with an empty one.
    thread = Thread(target=copy_context().run, args=(watch.watch, 0.3, over.is_set))
    thread.start()
    wait_for(database, "SELECT true FROM pg_stat_activity WHERE application_name = 'headway watch'")
    yield
    over.set()
    thread.join()


def wait_for(database: Engine, query: str, seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not rows_of(database, query) and time.monotonic() < until:
        time.sleep(0.05)
    assert rows_of(database, query)


def test_a_bad_sample_takes_the_version_to_nobody_within_seconds(
    database: Engine, watcher: None
) -> None:
    begin(database)
    sample(database, "error_rate", 80, 1000)
    hours_pass(database, 0.01)
    wait_for(database, "SELECT true FROM rollout WHERE state = 'rolled_back' AND percentage = 0")
    [(actor, reason)] = rows_of(
        database, "SELECT actor, reason FROM rollout_change WHERE cause = 'manual_rollback'"
    )
    assert actor == "headway watch"
    assert "error_rate 0.08 (n=1000)" in reason


def test_what_was_said_while_nobody_listened_is_caught_up_with(
    database: Engine, quick: None
) -> None:
    voices = listening.heard(60.0, lambda: False)
    assert next(voices) is None
    sample(database, "error_rate", 1, 100)
    sample(database, "error_rate", 1, 100)
    sample(database, "error_rate", 1, 100, version="v1")
    assert next(voices) == ["v1", "v2"]
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = "
    rows_of(database, cut + "'headway watch'")
    sample(database, "error_rate", 1, 100)
    assert next(voices) is None  # connected anew: everything is to be looked at


def ticks_checked() -> list[AlertNews]:
    news: list[AlertNews] = run_by_ledger(check_ticks, {})
    return news


def test_a_rollout_that_nobody_ticks_is_told_of_until_somebody_does(database: Engine) -> None:
    begin(database)
    hours_pass(database, 1.9)
    assert ticks_checked() == []
    hours_pass(database, 0.2)
    [missed] = ticks_checked()
    assert missed.alert.title == "rollout rollout (v2): nobody guards it"
    assert ticks_checked() == []
    assert rows_of(database, ALERTS) == [("rollout:1", "tick", "critical", "open")]
    traffic(database)
    tick_now(database)
    assert [each.event for each in ticks_checked()] == ["resolved"]
