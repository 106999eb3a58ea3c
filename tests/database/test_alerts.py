"""One open alert for each subject and metric, until it is healthy often enough in a row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from tasks.alerts.model import AlertNews, Observation
from tasks.alerts.recording import observe
from tasks.errors import InputError
from tasks.rollouts.changes.announcing import RolloutChange, announce_changes
from tasks.rollouts.definition.state import State
from tasks.settings import load_settings
from tests.rows import rows_of

BAD = Observation(
    subject="rollout:7",
    metric="error_rate",
    health="unhealthy",
    severity="warning",
    title="errors",
    message="0.06 is not < 0.05",
    details={"value": 0.06},
)


def seen(**changed: Any) -> Observation:
    return BAD.model_copy(update=changed)


GOOD = seen(health="healthy", message="0.01")
UNKNOWN = seen(health="inconclusive", message="no data")


def look(database: Engine, *observations: Observation) -> list[AlertNews]:
    with database.begin() as tx:
        return observe(tx, observations)


def events(news: list[AlertNews]) -> list[str]:
    return [each.event for each in news]


@pytest.fixture
def told(database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A database, and a channel that is told everything."""
    (tmp_path / "headway.toml").write_text('[notify.ops]\nkind = "webhook"\nurl_env = "OPS_URL"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPS_URL", "http://127.0.0.1:1/")
    load_settings.cache_clear()
    return database


def test_an_unhealthy_metric_opens_one_alert_and_counts_it_up(database: Engine) -> None:
    """Scenario 30."""
    assert events(look(database, BAD)) == ["opened"]
    assert events(look(database, seen(message="0.07"))) == []
    found = rows_of(database, "SELECT state, occurrences, message, details FROM alert")
    assert found == [("open", 2, "0.07", {"value": 0.06})]


def test_healthy_looks_in_a_row_resolve_and_missing_data_does_not(database: Engine) -> None:
    """Scenario 30."""
    look(database, BAD)
    for each in (GOOD, GOOD, UNKNOWN, UNKNOWN, UNKNOWN, BAD, GOOD, UNKNOWN, GOOD):
        assert look(database, each) == []
    assert events(look(database, GOOD)) == ["resolved"]
    assert look(database, GOOD) == []
    changes = "SELECT old_state, new_state, actor, note FROM alert_change ORDER BY id"
    assert rows_of(database, changes) == [
        (None, "open", "headway", "0.06 is not < 0.05"),
        ("open", "resolved", "headway", "healthy 3 times in a row: 0.01"),
    ]


def test_a_metric_that_breaches_again_opens_a_new_alert_of_the_same_key(database: Engine) -> None:
    """Scenario 30."""
    look(database, BAD)
    look(database, seen(health="healthy", healthy_needed=1))
    assert events(look(database, BAD)) == ["opened"]
    states = "SELECT subject, metric, state, resolved_at IS NULL FROM alert ORDER BY id"
    assert rows_of(database, states) == [
        ("rollout:7", "error_rate", "resolved", False),
        ("rollout:7", "error_rate", "open", True),
    ]


def test_what_gets_worse_is_told_once_and_opens_what_was_acknowledged(database: Engine) -> None:
    look(database, BAD)
    with database.begin() as tx:
        tx.execute(text("UPDATE alert SET state = 'acknowledged', acknowledged_at = now()"))
    assert look(database, BAD) == []
    [escalated] = look(database, seen(severity="critical"))
    assert (escalated.event, escalated.alert.state) == ("escalated", "open")
    assert look(database, seen(severity="critical")) == []
    assert look(database, seen(severity="info")) == []
    assert rows_of(database, "SELECT severity, state FROM alert") == [("critical", "open")]


def test_thousands_are_observed_by_a_few_statements(told: Engine) -> None:
    many = [seen(subject=f"rollout:{n}") for n in range(2000)]
    look(told, *many[:1000])
    statements: list[str] = []
    with told.begin() as tx:
        from sqlalchemy import event

        event.listen(tx, "before_cursor_execute", lambda *args: statements.append(args[2]))
        news = observe(
            tx,
            [
                *many[:500],
                *(
                    seen(health="healthy", subject=m.subject, healthy_needed=1)
                    for m in many[500:1000]
                ),
                *many[1000:],
            ],
        )
    assert len(statements) <= 5
    assert [events(news).count(each) for each in ("opened", "resolved")] == [1000, 500]
    kept = rows_of(
        told, "SELECT state, occurrences, count(*) FROM alert GROUP BY 1, 2 ORDER BY 2, 1"
    )
    assert kept == [("open", 1, 1000), ("resolved", 1, 500), ("open", 2, 500)]
    assert rows_of(told, "SELECT count(*) FROM notification") == [(2500,)]


def test_people_are_told_of_what_opens_gets_worse_and_is_resolved(told: Engine) -> None:
    for each in (BAD, BAD, seen(severity="critical"), seen(health="healthy", healthy_needed=1)):
        look(told, each)
    rows = rows_of(told, "SELECT kind, subject, payload FROM notification ORDER BY id")
    assert [(kind, subject) for kind, subject, _ in rows] == [("alert", "rollout:7")] * 3
    assert [payload["title"] for *_, payload in rows] == [
        "warning: errors",
        "critical: errors",
        "ok: errors",
    ]
    assert rows[0][2]["details"] == {
        "alert_id": 1,
        "event": "opened",
        "metric": "error_rate",
        "severity": "warning",
        "state": "open",
        "value": 0.06,
    }


def test_two_sessions_that_see_the_same_breach_open_one_alert(database: Engine) -> None:
    from threading import Thread

    with database.begin() as first:
        observe(first, [BAD])
        found: list[list[AlertNews]] = []
        second = Thread(target=lambda: found.append(look(database, BAD)))
        second.start()
        second.join(0.3)
        assert found == []  # it waits for the first
    second.join()
    assert found == [[]]
    assert rows_of(database, "SELECT occurrences FROM alert") == [(2,)]


def test_a_metric_is_observed_once_at_a_time(database: Engine) -> None:
    with pytest.raises(InputError, match="observed twice at once: rollout:7 of error_rate"):
        look(database, BAD, GOOD)
    assert look(database) == []


def test_the_audit_of_alerts_cannot_be_changed(database: Engine) -> None:
    look(database, BAD)
    for statement in ("UPDATE alert_change SET note = ''", "DELETE FROM alert_change"):
        with pytest.raises(DBAPIError, match="append-only"), database.begin() as tx:
            tx.execute(text(statement))


CHANGE = RolloutChange(
    rollout_id=7,
    version=3,
    name="ranker",
    model_version="v2",
    old_percentage=5.0,
    new_percentage=25.0,
    old_state=State.RUNNING,
    new_state=State.RUNNING,
    cause="advance",
    actor="headway",
    reason="healthy and due",
)


def test_programs_are_told_of_every_change_of_a_rollout_once(told: Engine) -> None:
    back = CHANGE.model_copy(
        update={
            "version": 4,
            "new_state": State.ROLLED_BACK,
            "new_percentage": 0.0,
            "cause": "rollback",
            "old_percentage": 25.0,
        }
    )
    idle = back.model_copy(update={"cause": "noop"})
    with told.begin() as tx:
        assert announce_changes(tx, [CHANGE, back, idle]) == 3
        assert announce_changes(tx, [CHANGE, back]) == 0
    rows = rows_of(told, "SELECT kind, payload FROM notification ORDER BY id")
    assert [(kind, payload["title"]) for kind, payload in rows] == [
        ("rollout-changed", "ranker (v2): advance, 5 % to 25 %"),
        ("rollout-changed", "ranker (v2): rollback, 25 % to 0 %"),
        ("rollout-rolled-back", "ranker (v2) was rolled back from 25 % to 0 %"),
    ]
    assert rows[0][1]["details"] == json.loads(CHANGE.model_dump_json())
