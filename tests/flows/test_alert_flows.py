"""What a person does about an alert is a run with a page; a source's secret may be a block."""

from __future__ import annotations

from typing import Any

from prefect.blocks.system import Secret
from sqlalchemy import Engine

from flows.alerts import acknowledge_alert, resolve_alert
from flows.samples import load_health_samples
from flows.watch import check_ticks
from tasks.rollouts.definition.policy import CheckPolicy
from tasks.rollouts.steps.secrets import resolve_secrets
from tests.database.rollouts import begin, hours_pass
from tests.faults import cases
from tests.flows.test_rollout import artifact
from tests.rows import rows_of


def test_an_alert_is_raised_acknowledged_and_resolved_by_runs(database: Engine) -> None:
    begin(database)
    hours_pass(database, 3)
    [missed] = check_ticks()
    number = missed.alert.id
    assert acknowledge_alert(alert=number, actor="ada", reason="the worker is back soon")
    assert resolve_alert(alert=number, actor="ada", reason="it is back").note == "it is back"
    assert "Note: it is back" in artifact(f"alert-{number}")
    assert rows_of(database, "SELECT state FROM alert") == [("resolved",)]


def test_a_file_of_samples_leaves_a_page(database: Engine) -> None:
    loaded = load_health_samples(path=str(cases._SAMPLES))
    assert (loaded.loaded, loaded.rejected) == (1, {"bad-value": 1})
    assert "1 samples loaded, 0 known, 1 rejected" in artifact("health-samples")


def test_a_secret_block_is_read_and_one_that_is_gone_is_missed() -> None:
    Secret(value="hunter2").save("health-source", overwrite=True)
    checks = [_check("health-source"), _check("no-such-block")]
    found = resolve_secrets(checks)
    assert {str(name): value.get_secret_value() for name, value in found.items()} == {
        "block health-source": "hunter2"
    }


def _check(block: str) -> CheckPolicy:
    source: dict[str, Any] = {
        "kind": "http",
        "url": "https://metrics.example/",
        "value": "/v",
        "headers": {"Authorization": {"block": block, "prefix": "Bearer "}},
    }
    return CheckPolicy.model_validate({"check": "latency", "limit": 200, "source": source})
