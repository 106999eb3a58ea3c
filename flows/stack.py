"""The local stack: embedded Postgres, Prefect server, one worker and every deployment.

`headway up` runs it until Ctrl-C. All its state lies in the data folder (`.headway`), so it goes on
where it stopped. Children end with this process, even when it is killed.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import click
import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Scheduled
from prefect.workers.process import ProcessWorker

from flows.automations import create_automations
from flows.pipeline import run_by_ledger
from tasks.database import control_engine
from tasks.embedded.locks import open_lock, try_lock
from tasks.errors import HeadwayError
from tasks.settings import load_settings

ROOT = Path(__file__).resolve().parent.parent
WORK_POOL = "headway"
# What may run at any time is run at the start, so that there is something to see at once.
RUN_AT_START = ("analyze-experiments/hourly", "progress-rollouts/hourly")

_DEFAULT_PORT = 4200
_READY_SECONDS = 120.0
_STOP_SECONDS = 15.0
_POLL_SECONDS = 0.2
_PASSED_ON = ("HEADWAY_", "PREFECT_", "LC_", "PG", "SSL_", "REQUESTS_", "NO_PROXY", "no_proxy")
_PASSED_ON_EXACTLY = {"PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "TZ", "DATABASE_URL"}


class StackError(HeadwayError):
    """A part of the local stack did not start, or ended by itself."""


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A Prefect server that answers; ``process`` is None when somebody else runs it."""

    api_url: str
    ui_url: str
    process: subprocess.Popen[bytes] | None = None


def up(port: int | None = None) -> None:
    """Run the stack until Ctrl-C or SIGTERM, then stop all of it."""
    home = load_settings().data_dir.absolute()
    home.mkdir(parents=True, exist_ok=True)
    try:
        with _sigterm_means_stop(), _only_one(home):
            _run(home, port)
    except KeyboardInterrupt:
        click.echo("Stopped. `make up` goes on from here.")


def _run(home: Path, port: int | None) -> None:
    click.echo("Starting the database …")
    control_engine()  # holds the embedded Postgres until this process ends
    _migrate()
    click.echo("Starting the Prefect server …")
    with (
        prefect_server(home / "prefect", port) as server,
        temporary_settings({PREFECT_API_URL: server.api_url}),
    ):
        create_work_pool()
        with worker(home, server) as running:
            click.echo("Deploying every flow …")
            deploy(home, server)
            create_automations()
            run_now(RUN_AT_START)
            click.echo(_welcome(home, server))
            _wait({"Prefect server": server.process, "worker": running})


@contextmanager
def prefect_server(home: Path, port: int | None = None) -> Iterator[ServerInfo]:
    """The Prefect server that PREFECT_API_URL names, or one of our own for the length of a block.

    Args:
        home: folder for the server's state (SQLite) and log.
        port: port on 127.0.0.1; by default 4200, or a free one if that is taken.
    """
    named = PREFECT_API_URL.value()
    if named:
        yield ServerInfo(named, named.removesuffix("/").removesuffix("/api"))
        return
    chosen = port or _free_port()
    ui_url = f"http://127.0.0.1:{chosen}"
    arguments = ["server", "start", "--host", "127.0.0.1", "--port", str(chosen)]
    environment = _environment(home) | {"PREFECT_UI_API_URL": f"{ui_url}/api"}
    with _prefect(arguments, environment, home / "server.log") as process:
        _await_ready(f"{ui_url}/api", process, home / "server.log")
        yield ServerInfo(f"{ui_url}/api", ui_url, process)


@contextmanager
def worker(home: Path, server: ServerInfo) -> Iterator[subprocess.Popen[bytes]]:
    """One worker of the work pool, in the repository's root, on the same databases as we are."""
    environment = _worker_environment(home, server)
    arguments = ["worker", "start", "--pool", WORK_POOL, "--type", "process", "--name", "local"]
    with _prefect(arguments, environment, home / "prefect" / "worker.log") as process:
        yield process


def create_work_pool() -> None:
    """Create the work pool on the configured server, unless it is there."""
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(WORK_POOL)
        except ObjectNotFound:
            template = ProcessWorker.get_default_base_job_template()
            wanted = WorkPoolCreate(name=WORK_POOL, type="process", base_job_template=template)
            client.create_work_pool(wanted)


def deploy(home: Path, server: ServerInfo, file: Path = ROOT / "prefect.yaml") -> None:
    """Create or update every deployment of the file; StackError shows what Prefect said."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    finished = subprocess.run(
        [*command, "--prefect-file", str(file)],
        cwd=ROOT,
        env=_worker_environment(home, server),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        raise StackError(f"the flows could not be deployed:\n{finished.stdout[-3000:]}")


def run_now(deployments: Sequence[str]) -> None:
    """Schedule one run of each deployment for now."""
    with get_client(sync_client=True) as client:
        for name in deployments:
            deployment = client.read_deployment_by_name(name)
            client.create_flow_run_from_deployment(deployment.id, state=Scheduled())


def _migrate() -> None:
    """Bring the control database up to date; declared environments are for people to migrate."""
    if load_settings().environments:
        return
    from flows.migrate import apply_migrations

    actor = os.environ.get("USER") or "headway up"
    run_by_ledger(apply_migrations, {"actor": actor, "reason": "headway up"})


def _environment(home: Path) -> dict[str, str]:
    """What any child needs; other variables of the caller, secrets perhaps, are not passed on."""
    passed_on = {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON_EXACTLY or name.startswith(_PASSED_ON)
    }
    return passed_on | {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _worker_environment(home: Path, server: ServerInfo) -> dict[str, str]:
    settings = load_settings()
    named = {each.url_env for each in settings.environments.values() if each.url_env}
    urls = {name: os.environ[name] for name in named if name in os.environ}
    return (
        _environment(home / "prefect")
        | urls
        | {
            "HEADWAY_DATA_DIR": str(home),
            "PREFECT_API_URL": server.api_url,
            "PREFECT_WORKER_QUERY_SECONDS": "5",
        }
    )


@contextmanager
def _prefect(
    arguments: Sequence[str], environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A Prefect command that runs for the length of a block, and never longer than we live."""
    log.parent.mkdir(parents=True, exist_ok=True)
    command = ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "prefect", *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours to handle, in our order
        )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask, wait, and then end whatever is left of its process group."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _await_ready(api_url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{api_url}/ready", timeout=2, trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(_POLL_SECONDS)
    end = log.read_text(errors="replace")[-2000:]
    raise StackError(f"the Prefect server did not start; the end of its log ({log}):\n{end}")


def _wait(processes: Mapping[str, subprocess.Popen[bytes] | None]) -> None:
    """Return never: Ctrl-C ends it, or a part that ends by itself."""
    while True:
        for name, process in processes.items():
            if process is not None and process.poll() is not None:
                raise StackError(f"the {name} ended by itself; see its log")
        time.sleep(_POLL_SECONDS)


@contextmanager
def _sigterm_means_stop() -> Iterator[None]:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        # A second one must not interrupt the stopping.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    lock = open_lock(home / "up.lock")
    try:
        if not try_lock(lock, fcntl.LOCK_EX):
            raise StackError(f"`headway up` runs already on {home}; stop that one first")
        yield
    finally:
        os.close(lock)


def _free_port() -> int:
    for port in (_DEFAULT_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise StackError("there is no free port on 127.0.0.1")


def _welcome(home: Path, server: ServerInfo) -> str:
    return (
        f"\nHeadway is up: {server.ui_url}\n\n"
        f"  The runs started just now are on {server.ui_url}/runs within a minute.\n"
        f"  In another terminal: export PREFECT_API_URL={server.api_url}\n"
        f"  Logs: {home / 'prefect'}\n"
        "  Whoever can open that page can do everything: it asks nobody for a name.\n"
        "  Ctrl-C stops everything and keeps its state.\n"
    )
