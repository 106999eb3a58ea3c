"""The local stack: embedded Postgres, Prefect server, one worker and every deployment.

`headway up` runs it until Ctrl-C. All its state lies in the data folder (`.headway`), so it goes on
where it stopped. Children end with this process, even when it is killed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Scheduled
from prefect.workers.process import ProcessWorker

from flows.automations import create_automations
from flows.deploying import WORK_POOL, deploy, deploy_changed
from flows.pipeline import run_by_ledger
from flows.processes import (
    StackError,
    await_ready,
    environment,
    free_port,
    run_module,
    sigterm_means_stop,
    watch,
)
from tasks.database import control_engine
from tasks.embedded.locks import open_lock, try_lock
from tasks.settings import load_settings

_DEFAULT_PORT = 4200
# What may run at any time is run at the start, so that there is something to see at once.
RUN_AT_START = ("analyze-experiments/hourly", "progress-rollouts/hourly")


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
        with sigterm_means_stop(), only_one(home):
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
        if server.process is not None:
            resume_interrupted()
        with worker(home, server) as running:
            deploy_all(home, server)
            create_automations()
            run_now(RUN_AT_START)
            with watcher(home, server) as watching:
                click.echo(_welcome(home, server))
                watch({"Prefect server": server.process, "worker": running, "watcher": watching})


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
    chosen = port or free_port(_DEFAULT_PORT)
    ui_url = f"http://127.0.0.1:{chosen}"
    arguments = ["server", "start", "--host", "127.0.0.1", "--port", str(chosen)]
    told = environment(home) | {"PREFECT_UI_API_URL": f"{ui_url}/api"}
    with run_module("prefect", arguments, told, home / "server.log") as process:
        await_ready(f"{ui_url}/api", process, home / "server.log")
        yield ServerInfo(f"{ui_url}/api", ui_url, process)


@contextmanager
def worker(home: Path, server: ServerInfo) -> Iterator[subprocess.Popen[bytes]]:
    """One worker of the work pool, in the repository's root, on the same databases as we are."""
    told = child_environment(home, server) | {"TMPDIR": str(_private_tmp(home))}
    arguments = ["worker", "start", "--pool", WORK_POOL, "--type", "process", "--name", "local"]
    with run_module("prefect", arguments, told, home / "prefect" / "worker.log") as process:
        yield process


@contextmanager
def watcher(home: Path, server: ServerInfo) -> Iterator[subprocess.Popen[bytes]]:
    """`headway watch`: it guards rollouts between their ticks."""
    told = child_environment(home, server)
    with run_module("flows.cli", ["watch"], told, home / "prefect" / "watch.log") as process:
        yield process


def _private_tmp(home: Path) -> Path:
    # Prefect keeps /tmp/runner_storage, which belongs to whichever user had a worker first.
    folder = home / "prefect" / "tmp"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    return folder


def create_work_pool() -> None:
    """Create the work pool on the configured server, unless it is there."""
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(WORK_POOL)
        except ObjectNotFound:
            template = ProcessWorker.get_default_base_job_template()
            wanted = WorkPoolCreate(name=WORK_POOL, type="process", base_job_template=template)
            client.create_work_pool(wanted)


def deploy_all(home: Path, server: ServerInfo) -> None:
    """Create or update every deployment; on a server of our own only when the code has changed."""
    click.echo("Deploying every flow …")
    told = child_environment(home, server)
    if server.process is None:
        deploy(told)
    elif not deploy_changed(told, home / "prefect" / "deployed.json"):
        click.echo("The flows are deployed as they are now.")


def run_now(deployments: Sequence[str]) -> None:
    """Schedule one run of each deployment for now."""
    with get_client(sync_client=True) as client:
        for name in deployments:
            deployment = client.read_deployment_by_name(name)
            client.create_flow_run_from_deployment(deployment.id, state=Scheduled())


def resume_interrupted() -> None:
    """Hand runs back that were in the middle when the stack ended: the ledger resumes them.

    Only for a server of our own whose worker is not started yet: nobody else can be running them.
    """
    dead = FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING])
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=dead)),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[WORK_POOL])),
        ):
            state: State[object] = Scheduled(message="resumed: the stack had been stopped")
            client.set_flow_run_state(run.id, state, force=True)


def _migrate() -> None:
    """Bring the control database up to date; declared environments are for people to migrate."""
    if load_settings().environments:
        return
    from flows.migrate import apply_migrations
    from tasks.migrations.status import migration_status

    actor = os.environ.get("USER") or "headway up"
    # Where nothing is yet, there is nothing to try it out on.
    is_used = any(found.current_revision for found in migration_status())
    parameters = {"actor": actor, "reason": "headway up", "rehearse": is_used}
    run_by_ledger(apply_migrations, parameters)


def child_environment(home: Path, server: ServerInfo) -> dict[str, str]:
    """What a child of ours needs: our settings, and the variables that hold URLs and secrets."""
    settings = load_settings()
    channels = settings.notify.values()
    urls = {each.url_env for each in settings.environments.values()}
    urls |= {each.url_env for each in channels} | {each.secret_env for each in channels}
    urls |= set(settings.health_secrets)
    ours = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("HEADWAY_", "PG")) or name in urls
    }
    theirs = {
        "HEADWAY_DATA_DIR": str(home),
        "PREFECT_API_URL": server.api_url,
        "PREFECT_WORKER_QUERY_SECONDS": "5",
    }
    return environment(home / "prefect") | ours | theirs


@contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Keep a second Prefect server away from the state in this folder."""
    lock = open_lock(home / "up.lock")
    try:
        if not try_lock(lock, fcntl.LOCK_EX):
            raise StackError(f"`headway up` (or the demo) runs already on {home}; stop that first")
        yield
    finally:
        os.close(lock)


def _welcome(home: Path, server: ServerInfo) -> str:
    return (
        f"\nHeadway is up: {server.ui_url}\n\n"
        f"  The runs started just now are on {server.ui_url}/runs within a minute.\n"
        f"  In another terminal: export PREFECT_API_URL={server.api_url}\n"
        f"  Logs: {home / 'prefect'}\n"
        "  Whoever can open that page can do everything: it asks nobody for a name.\n"
        "  Ctrl-C stops everything and keeps its state.\n"
    )
