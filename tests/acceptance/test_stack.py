"""`headway up` as a person meets it: it starts, shows runs, stops, and goes on where it stopped."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tasks import embedded
from tasks.embedded.locks import is_locked
from tests.acceptance.watching import a_bad_sample_takes_a_version_to_nobody
from tests.conftest import CERTIFICATE

ROOT = Path(__file__).parents[2]
UP = [sys.executable, "-c", "from flows.cli import main; main(['up'])"]
PIPELINES = {"analyze-experiments", "progress-rollouts"}


@pytest.fixture
def home(tmp_path: Path, prefect_database: Path) -> Path:
    """A data folder whose Prefect server need not make its tables first."""
    folder = tmp_path / "home" / "prefect"
    folder.mkdir(parents=True)
    shutil.copy(prefect_database, folder / "prefect.db")
    return folder.parent


def folder_of_others(parent: Path) -> Path:
    """A TMPDIR in which Prefect's own folder cannot be used, as where another user made it."""
    folder = parent / "tmp"
    folder.mkdir(exist_ok=True)
    (folder / "runner_storage").touch()
    return folder


@contextmanager
def headway_up(home: Path) -> Iterator[subprocess.Popen[str]]:
    unwanted = ("HEADWAY_", "PREFECT_", "DATABASE_URL")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(unwanted)}
    settings = CERTIFICATE | {
        "HEADWAY_DATA_DIR": str(home),
        "HEADWAY_LOCK_TIMEOUT_SECONDS": "60",
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(folder_of_others(home.parent)),
    }
    process = subprocess.Popen(
        UP,
        cwd=ROOT,
        env=environment | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def api_of(process: subprocess.Popen[str]) -> str:
    """Wait for the line that tells where the UI is, as a person does."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if found := re.match(r"Headway is up: (http://127\.0\.0\.1:\d+)$", line.strip()):
            return f"{found[1]}/api"
    raise AssertionError("".join(seen))


def ask(method: str, url: str, body: dict[str, Any] | None = None, seconds: float = 30.0) -> Any:
    """What Prefect's own clients do: 503 means that SQLite was locked, and passes."""
    deadline = time.monotonic() + seconds
    while True:
        answer = httpx.request(method, url, json=body, timeout=90)
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
            return answer.raise_for_status().json()
        time.sleep(0.5)


def post(url: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask("POST", url, body)
    return found


def completed_flows(api: str) -> dict[str, str]:
    """Name of each flow with a completed run, with that run's id."""
    runs = post(f"{api}/flow_runs/filter", {"sort": "START_TIME_ASC"})
    flows = {flow["id"]: flow["name"] for flow in post(f"{api}/flows/filter", {})}
    return {flows[run["flow_id"]]: run["id"] for run in runs if run["state_type"] == "COMPLETED"}


def await_completed(api: str, wanted: set[str], seconds: float = 120.0) -> dict[str, str]:
    deadline = time.monotonic() + seconds
    while not wanted <= set(found := completed_flows(api)) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert wanted <= set(found), post(f"{api}/flow_runs/filter", {})
    return found


@contextmanager
def rollouts_locked(home: Path) -> Iterator[None]:
    """Somebody holds a lock, so that a run hangs in the middle of a step."""
    server = embedded.start(home / "postgres")
    try:
        with psycopg.connect(server.url().replace("+psycopg", "")) as connection:
            connection.execute("LOCK TABLE rollout IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        server.close()


def start_progress_rollouts(api: str) -> str:
    """Id of a run that has begun."""
    found = ask("GET", f"{api}/deployments/name/progress-rollouts/hourly")
    wanted = {"state": {"type": "SCHEDULED"}}
    run = ask("POST", f"{api}/deployments/{found['id']}/create_flow_run", wanted)
    run_id = str(run["id"])
    await_state(api, run_id, "RUNNING")
    return run_id


def pause(api: str, deployment: str) -> None:
    """Pause its schedule, as a person does in the UI."""
    found = ask("GET", f"{api}/deployments/name/{deployment}")
    (schedule,) = found["schedules"]
    url = f"{api}/deployments/{found['id']}/schedules/{schedule['id']}"
    httpx.patch(url, json={"active": False}, timeout=90).raise_for_status()


def schedules(deployments: list[dict[str, Any]]) -> dict[str, list[bool]]:
    """Whether each deployment's schedules are active, by its id."""
    return {each["id"]: [one["active"] for one in each["schedules"]] for each in deployments}


def await_state(api: str, run_id: str, wanted: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        run = ask("GET", f"{api}/flow_runs/{run_id}")
        if run["state_type"] == wanted:
            return
        time.sleep(0.3)
    raise AssertionError(run["state"])


def left_running(home: Path) -> list[str]:
    """Processes that carry the folder on their command line or in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            told = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(home) in told:
            found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def nothing_runs(home: Path, seconds: float = 150.0) -> bool:
    deadline = time.monotonic() + seconds
    while left_running(home) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not left_running(home) and not is_locked(home / "postgres" / "server.lock")


@pytest.mark.timeout(600)  # 5 minutes where every core is busy
def test_up_shows_runs_stops_cleanly_and_goes_on_where_it_stopped(home: Path) -> None:
    with headway_up(home) as first:
        api = api_of(first)
        runs = await_completed(api, PIPELINES)
        for flow in PIPELINES:
            artifacts = post(
                f"{api}/artifacts/filter",
                {
                    "artifacts": {
                        "flow_run_id": {"any_": [runs[flow]]},
                        "type": {"any_": ["markdown"]},
                    }
                },
            )
            assert artifacts, f"{flow} left nothing to read"
            assert all(len(each["data"]) > 20 for each in artifacts)
        a_bad_sample_takes_a_version_to_nobody(home)

        with headway_up(home) as second:
            output, _ = second.communicate(timeout=60)
            assert "runs already" in output
            assert second.returncode == 1

        pause(api, "check-schema/nightly")
        deployments = post(f"{api}/deployments/filter", {})
        with rollouts_locked(home):
            interrupted = start_progress_rollouts(api)
            first.send_signal(signal.SIGINT)
            output, _ = first.communicate(timeout=60)
        assert "Stopped." in output, output
        assert "Traceback" not in output, output
        assert first.returncode == 0
    assert nothing_runs(home), left_running(home)

    with headway_up(home) as again:
        api = api_of(again)
        assert set(runs.values()) <= {run["id"] for run in post(f"{api}/flow_runs/filter", {})}
        assert schedules(post(f"{api}/deployments/filter", {})) == schedules(deployments)
        await_state(api, interrupted, "COMPLETED")
        again.send_signal(signal.SIGKILL)
        again.wait()
        assert nothing_runs(home), left_running(home)
