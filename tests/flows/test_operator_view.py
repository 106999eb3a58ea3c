"""What an operator sees of a run: its name, and what it leaves to read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.flow_engine import run_flow
from prefect.logging.loggers import flow_run_logger
from sqlalchemy import Engine

from flows import experiments
from flows.allocate import allocate_traffic
from flows.analyze import select_winner
from flows.assign import override_variant
from flows.calibrate import _page
from flows.execute import _deployment_of, _what_is_left
from flows.report import report_experiments
from tasks.errors import Refused
from tasks.experiments.calibration.results import Calibration
from tests.database.bandits import start_bandit
from tests.database.experiments import plan
from tests.flows.test_allocate import artifact, come

WHO: dict[str, Any] = {"actor": "ada", "reason": "a new colour"}


def run_of(state: Any) -> FlowRun:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(UUID(str(state.state_details.flow_run_id)))


def test_a_run_is_named_by_what_it_is_about_and_says_what_it_made(
    database: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    experiments.create_experiment(plan=plan(), **WHO)
    assert artifact("plan-buttons").startswith(
        "buttons: created as a draft\n\n# buttons: draft, version 1"
    )
    experiments.change_experiment(experiment="buttons", action="delete", **WHO)
    assert artifact("plan-buttons") == "buttons: draft → deleted"
    start_bandit()
    come("greeting")
    one = run_of(allocate_traffic(experiment="greeting", return_state=True))
    assert one.name == "allocate-traffic/greeting"
    override_variant(experiment="greeting", unit="u", variant="b", **WHO)
    assert "greeting" in artifact("override-greeting")
    select_winner(experiment="greeting", variant="b", is_forced=True, **WHO)
    assert artifact("winner-greeting") == "greeting: b is chosen, against the last look"
    logger: Any = flow_run_logger(one)  # a worker's engine is given one
    with pytest.raises(Refused):
        run_flow(
            experiments.change_experiment,
            parameters={"experiment": "greeting", "action": "delete", **WHO},
            error_logger=logger,
        )
    assert "refused: [" in caplog.text
    assert "unexpected exception" not in caplog.text
    everything = run_of(report_experiments(return_state=True))
    assert everything.name == "report-experiments/all"
    with get_client(sync_client=True) as client:
        assert _what_is_left(client, one) == (
            "completed: allocate-traffic/greeting; its artifacts: traffic, traffic-arms"
        )


def test_a_broken_calibration_says_what_follows() -> None:
    moment = datetime(2026, 11, 22, tzinfo=UTC)
    reasons = [{"code": "too-often", "message": "the test finds a difference too often"}]
    broken = Calibration(
        id=1,
        experiment="buttons",
        metric="spend",
        kind="mean",
        method="fixed",
        alpha=0.05,
        units=900,
        draws=1000,
        seed=1,
        calibrated_at=moment,
        since=moment,
        verdict="broken",
        false_positive_rate=0.2,
        coverage=0.8,
        srm_alarm_rate=0.0,
        details={"reasons": reasons},
    )
    page = _page([broken], {})
    assert page.startswith("1 metric was calibrated: 1 broken.")
    assert "- buttons: spend is broken: the test finds a difference too often" in page
    assert page.endswith("even out the split or choose another method.")
    assert "only recommended" not in _page([broken.model_copy(update={"verdict": "kept"})], {})


def test_a_person_runs_the_deployment_that_is_there_for_people() -> None:
    with get_client(sync_client=True) as client:
        flow = client.create_flow_from_name(report_experiments.name)
        by_clock = client.create_deployment(flow, "daily")
        assert _deployment_of(client, report_experiments) == by_clock
        by_hand = client.create_deployment(flow, "manual")
        client.create_deployment(flow, "weekly")
        assert _deployment_of(client, report_experiments) == by_hand
