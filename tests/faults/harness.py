"""Run a step in a subprocess that dies, or whose connection is cut, at a chosen point."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event, text

from tasks import database, ledger, retries, runs
from tasks.settings import load_settings
from tests.faults.cases import KILL_CASES

Fault = Literal["kill", "cut"]
PointName = Literal["before-body", "inside", "after-act", "before-commit", "after-commit"]
POINTS: tuple[PointName, ...] = ("before-body", "inside", "before-commit", "after-commit")
KILLED = -signal.SIGKILL

_processes = multiprocessing.get_context("forkserver")
# Imported once here, not in every subprocess.
_processes.set_forkserver_preload(
    ["pytest", "tests.faults.harness", "tests.faults.under_prefect", "great_expectations"]
)
_RETRY_AFTER_SECONDS = 0.02  # how long a step waits before it tries again is not the subject here


@dataclass(frozen=True)
class Job:
    """What a subprocess is to do with one step."""

    url: str
    step: str
    run_id: str
    points: tuple[PointName, ...] = ()  # where the fault strikes, once at each
    fault: Fault | None = None
    prefect_api: str | None = None


def arrange(url: str, step: str) -> dict[str, Any]:
    """Prepare the world of a step in a subprocess; returns the step's arguments."""
    arguments: dict[str, Any] = _in_process(_arrange, url, step)
    return arguments


def call(job: Job, arguments: dict[str, Any]) -> int:
    """Call the step in a subprocess; returns its exit code (-9 when it was killed)."""
    process = _processes.Process(target=_call, args=(job, arguments))
    process.start()
    process.join(60)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise AssertionError(f"{job} did not end within a minute")
    return process.exitcode


def observe(engine: Engine) -> dict[str, Any]:
    """All that a database holds, less what differs between any two runs (ids, times)."""
    with engine.connect() as connection:
        return {
            "schema": _columns(connection),
            "rows": {table: _rows(connection, table) for table in _tables(connection)},
        }


def _in_process(function: Callable[..., Any], *args: Any) -> Any:
    reader, writer = _processes.Pipe(duplex=False)
    process = _processes.Process(target=_send, args=(writer, function, args))
    process.start()
    writer.close()
    try:
        outcome = reader.recv()
    finally:
        process.join(60)
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def _send(writer: Any, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    try:
        writer.send(function(*args))
    except BaseException as error:
        writer.send(RuntimeError(f"{type(error).__name__}: {error}"))


def _use(url: str) -> None:
    for name in [name for name in os.environ if name.startswith("HEADWAY_")]:
        del os.environ[name]
    os.environ["HEADWAY_DATABASE_URL"] = url
    os.environ["HEADWAY_ALLOW_CLOCK_SHIFT"] = "true"
    load_settings.cache_clear()
    database.forget_control_engine()
    retries.FIRST_DELAY_SECONDS = _RETRY_AFTER_SECONDS


def _arrange(url: str, step: str) -> dict[str, Any]:
    _use(url)
    with _run(str(uuid.uuid4())):
        arguments = KILL_CASES[step]()
    database.forget_control_engine()
    return arguments


def _call(job: Job, arguments: dict[str, Any]) -> None:
    _use(job.url)
    if job.fault is not None:
        for point in job.points:
            _Saboteur(point, job.fault).install()
    step = ledger.registered_steps()[job.step]
    if job.prefect_api is not None:
        from tests.faults import under_prefect

        under_prefect.call(job.prefect_api, step, arguments, job.run_id)
        return
    with _run(job.run_id):
        step(**arguments)


def _run(run_id: str) -> Any:
    return runs.in_run(runs.RunInfo(run_id, "kill", "tests:kill", "ledger"))


class _Saboteur:
    """Strikes once, at the chosen point of the first attempt that comes so far."""

    def __init__(self, point: PointName, fault: Fault) -> None:
        self._point, self._fault = point, fault
        self._has_struck = False
        self._is_inside = False

    def install(self) -> None:
        ledger.observers.append(self._on_point)
        event.listen(sa.Engine, "after_cursor_execute", self._on_statement)

    def _on_point(self, point: ledger.Point, _key: str, tx: Connection | None) -> None:
        self._is_inside = point is ledger.Point.BEFORE_BODY and self._point == "inside"
        if point.value == self._point:
            self._strike(tx)

    def _on_statement(self, connection: Connection, *_: Any) -> None:
        if self._is_inside:
            self._is_inside = False
            self._strike(connection)

    def _strike(self, connection: Connection | None) -> None:
        if self._has_struck:
            return
        self._has_struck = True
        if self._fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
            threading.Event().wait()  # the signal may take a moment
        _cut(connection)


def _cut(connection: Connection | None) -> None:
    """Cut the given connection, or every pooled one, from the server's side, and wait."""
    admin = database.create_engine(database.control_url(), application_name="saboteur")
    if connection is None:
        victims = (
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name <> 'saboteur' AND backend_type = 'client backend'"
        )
    else:
        victims = f"SELECT {int(connection.connection.driver_connection.info.backend_pid)} AS pid"  # type: ignore[union-attr]
    with admin.connect() as surgeon:
        surgeon.execute(text(f"SELECT pg_terminate_backend(pid, 5000) FROM ({victims}) AS v"))
    admin.dispose()


_VOLATILE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d(:?\d\d)?)?"
)
_MEASURED = re.compile(
    r'"(\w*_id|id|paused_seconds|milliseconds|seconds|checksum)": (?:[\d.e-]+|"-?\d+")'
)
_UNSAID = {"differences", "statements", "restored", "lock_ms"}
# What a failed attempt rightly leaves behind, and the runs of the harness itself.
_UNCOMPARED = (
    "('headway.step_attempt', 'headway.run', 'headway.migration_fence', 'headway.lock_time')"
)


def _tables(connection: Connection) -> list[str]:
    found = connection.scalars(
        text(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
            "WHERE schemaname IN ('public', 'headway') "
            f"AND schemaname || '.' || tablename NOT IN {_UNCOMPARED} ORDER BY 1"
        )
    )
    return list(found)


def _columns(connection: Connection) -> list[tuple[Any, ...]]:
    query = text(
        "SELECT table_schema, table_name, column_name, data_type, is_nullable, column_default "
        "FROM information_schema.columns WHERE table_schema IN ('public', 'headway') "
        "ORDER BY 1, 2, 3"
    )
    return [tuple(row) for row in connection.execute(query)]


def _rows(connection: Connection, table: str) -> list[str]:
    numbered = "'id', 'attempt', 'chain_hash', 'document', 'archived_in'"
    query = text(f"SELECT (to_jsonb(t) - ARRAY[{numbered}])::text FROM {table} AS t")
    return sorted(_VOLATILE.sub("~", _without_ids(row)) for row in connection.scalars(query))


def _without_unsaid(found: dict[str, Any]) -> dict[str, Any]:
    return {key: "~" if key in _UNSAID else value for key, value in found.items()}


def _without_ids(row: str) -> str:
    # Rolled-back attempts use up numbers of a sequence, so numbers may differ, never their count;
    # a pause lasts as long as the test took, and rows with times in them have other checksums. Who
    # finds a conflict resolved, or a revision applied, cannot say any more what was different, or
    # what came back: the rows themselves are compared.
    told = json.dumps(json.loads(row, object_hook=_without_unsaid))
    known = re.sub(_MEASURED, r'"\1": 0', told)
    return re.sub(r'"archived_in": "[^"]*"', '"archived_in": "~"', known)
