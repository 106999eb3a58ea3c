"""A person acknowledges and resolves alerts, with a note that is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine

from flows.alerts import acknowledge_alert, resolve_alert
from flows.commands.alerts import alert
from flows.commands.status import status
from flows.pipeline import run_by_ledger
from tasks.alerts.handling import Handled
from tasks.alerts.model import Observation
from tasks.alerts.recording import observe
from tasks.errors import InputError, NotFound, Refused
from tests.rows import rows_of

BAD = Observation(
    subject="rollout:7",
    metric="error_rate",
    health="unhealthy",
    severity="warning",
    title="errors",
    message="0.06 is not < 0.05",
)


def see(database: Engine, **changed: Any) -> list[str]:
    with database.begin() as tx:
        return [each.event for each in observe(tx, [BAD.model_copy(update=changed)])]


def act(flow: Any, number: int = 1, note: str = "on it") -> Handled:
    handled: Handled = run_by_ledger(flow, {"alert": number, "actor": "ada", "reason": note})
    return handled


def run(*words: str) -> str:
    return CliRunner().invoke(alert, words, catch_exceptions=False).output


def test_an_alert_is_acknowledged_and_then_resolved_by_health(database: Engine) -> None:
    """Scenario 30."""
    see(database)
    assert act(acknowledge_alert).summary == "alert 1 acknowledged: errors"
    assert see(database) == []
    assert see(database, health="inconclusive") == []
    assert rows_of(database, "SELECT state, occurrences FROM alert") == [("acknowledged", 2)]
    assert [see(database, health="healthy") for _ in range(3)] == [[], [], ["resolved"]]
    kept = "SELECT old_state, new_state, actor FROM alert_change ORDER BY id"
    assert rows_of(database, kept) == [
        (None, "open", "headway"),
        ("open", "acknowledged", "ada"),
        ("acknowledged", "resolved", "headway"),
    ]


def test_an_open_alert_shows_in_the_status(database: Engine) -> None:
    see(database)
    shown = CliRunner().invoke(status, [], catch_exceptions=False).output
    assert [line for line in shown.splitlines() if "warning" in line and "errors" in line]


def test_what_a_person_resolved_opens_anew_when_it_comes_back(database: Engine) -> None:
    see(database)
    assert act(resolve_alert, note="was a test").alert.resolved_at is not None
    assert act(resolve_alert, note="as I said").is_noop
    assert see(database) == ["opened"]
    assert rows_of(database, "SELECT id, state FROM alert ORDER BY id") == [
        (1, "resolved"),
        (2, "open"),
    ]
    notes = "SELECT note FROM alert_change WHERE actor = 'ada' ORDER BY id"
    assert rows_of(database, notes) == [("was a test",), ("as I said",)]


def test_what_is_over_cannot_be_acknowledged_and_what_is_not_cannot_be_found(
    database: Engine,
) -> None:
    see(database)
    act(resolve_alert)
    with pytest.raises(Refused, match="it is resolved"):
        act(acknowledge_alert)
    with pytest.raises(NotFound, match="no alert with the number 9"):
        act(resolve_alert, 9)
    with pytest.raises(InputError, match="do not fit"):
        act(resolve_alert, 0)


def test_alerts_are_listed_the_gravest_first(database: Engine) -> None:
    assert run("list") == "no alerts\n"
    for subject, severity in (("rollout:1", "warning"), ("rollout:2", "critical")):
        see(database, subject=subject, severity=severity)
    see(database, subject="rollout:3", severity="info")
    assert "resolved" in run("resolve", "3", "--actor", "ada", "--reason", "no")
    found = json.loads(run("list", "--json"))
    assert [each["subject"] for each in found] == ["rollout:2", "rollout:1"]
    assert len(json.loads(run("list", "--all", "--json"))) == 3
    assert len(json.loads(run("list", "--subject", "rollout:1", "--json"))) == 1
    assert "acknowledged" in run("acknowledge", "1", "--actor", "ada", "--reason", "on it")
    assert [each["note"] for each in json.loads(run("show", "1", "--json"))][1:] == ["on it"]
