"""A cron schedule, a real server and a real worker: the chain that once broke without a word.

With the wrong SQLAlchemy the server starts, direct runs work, and scheduled runs are never made.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Failed, Running
from sqlalchemy import Engine

from flows import stack
from flows.automations import create_automations, dead_worker
from flows.deploying import WORK_POOL, Deployed, deploy_changed, digest_of
from flows.processes import ROOT
from flows.rollout import progress_rollouts

T = TypeVar("T")

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def server(
    prefect_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[stack.ServerInfo]:
    """A Prefect server of this file's own, also where another one is configured."""
    home = tmp_path_factory.mktemp("prefect")
    shutil.copy(prefect_database, home / "prefect.db")
    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        stack.prefect_server(home) as info,
        temporary_settings({PREFECT_API_URL: info.api_url}),
    ):
        yield info


def eventually(look: Callable[[], T | None], seconds: float) -> T | None:
    deadline = time.monotonic() + seconds
    while (found := look()) is None and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def every_quarter_minute(path: Path) -> Path:
    """`prefect.yaml` with one deployment only, due all the time: a sixth field counts seconds."""
    content = yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))
    deployment = next(
        each for each in content["deployments"] if "progress_rollouts" in each["entrypoint"]
    )
    deployment["schedules"] = [
        {"slug": "often", "cron": "* * * * * */15", "timezone": "UTC", "active": True}
    ]
    path.write_text(yaml.safe_dump({**content, "deployments": [deployment]}), "utf-8")
    return path


def completed_scheduled_run(client: SyncPrefectClient) -> FlowRun | None:
    for run in client.read_flow_runs():
        if run.auto_scheduled and run.state is not None and run.state.is_completed():
            return run
    return None


def test_a_cron_deployment_yields_a_completed_scheduled_run(
    server: stack.ServerInfo, database: Engine, tmp_path: Path
) -> None:
    stack.create_work_pool()
    file = every_quarter_minute(tmp_path / "prefect.yaml")
    told, kept = stack.child_environment(tmp_path, server), tmp_path / "deployed.json"
    gone = Deployed(digest=digest_of(file), ids={str(uuid.uuid4())})
    kept.write_text(gone.model_dump_json())
    assert deploy_changed(told, kept, file)
    assert not deploy_changed(told, kept, file)
    file.write_text(file.read_text() + "# otherwise\n")
    assert digest_of(file) != gone.digest
    with stack.worker(tmp_path, server), get_client(sync_client=True) as client:
        run = eventually(lambda: completed_scheduled_run(client), 150)
    assert run is not None, (tmp_path / "prefect" / "worker.log").read_text()
    with database.connect() as connection:
        row = connection.exec_driver_sql(
            "SELECT flow, mode, state FROM headway.run WHERE id = %s", (str(run.id),)
        ).one()
    assert tuple(row) == ("progress-rollouts", "prefect", "completed")


def test_a_run_whose_heartbeat_stops_is_crashed_and_a_refused_one_is_not(
    server: stack.ServerInfo,
) -> None:
    create_automations([dead_worker(patience=timedelta(seconds=10))])
    with get_client(sync_client=True) as client:
        dead, refused = (client.create_flow_run(progress_rollouts, state=Running()) for _ in "ab")
        for run in (dead, refused):
            send_heartbeat(server, run)
        client.set_flow_run_state(refused.id, Failed(name="Refused"), force=True)
        state = eventually(lambda: crashed_state(client, dead), 90)
        assert state is not None, "the automation did not act"
        assert "headway resume" in state
        assert client.read_flow_run(refused.id).state_name == "Refused"


def test_automations_are_created_once_and_updated_after_that(server: stack.ServerInfo) -> None:
    for _ in range(2):
        assert create_automations() == ["headway: worker died"]
    with get_client(sync_client=True) as client:
        assert len(client.read_automations_by_name("headway: worker died")) == 1


def test_the_work_pool_is_created_once(server: stack.ServerInfo) -> None:
    for _ in range(2):
        stack.create_work_pool()
    with get_client(sync_client=True) as client:
        assert client.read_work_pool(WORK_POOL).type == "process"


def test_a_server_that_is_configured_is_used_instead_of_a_new_one(
    server: stack.ServerInfo, tmp_path: Path
) -> None:
    with stack.prefect_server(tmp_path / "unused") as named:
        assert named == stack.ServerInfo(server.api_url, server.ui_url)
    assert not (tmp_path / "unused").exists()


def crashed_state(client: SyncPrefectClient, run: FlowRun) -> str | None:
    wanted = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
    state = client.read_flow_runs(flow_run_filter=wanted)[0].state
    return state.message if state is not None and state.is_crashed() else None


def send_heartbeat(server: stack.ServerInfo, run: FlowRun) -> None:
    event = {
        "id": str(uuid.uuid4()),
        "event": "prefect.flow-run.heartbeat",
        "occurred": datetime.now(UTC).isoformat(),
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run.id}"},
    }
    httpx.post(f"{server.api_url}/events", json=[event]).raise_for_status()
