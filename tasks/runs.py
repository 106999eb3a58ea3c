"""The root run that steps and decisions belong to, and its row in `headway.run`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row

from tasks import jsonb, retries
from tasks.database import control_engine, load_queries
from tasks.errors import ConfigurationError, Refused

QUERIES = load_queries("tasks", "runs.sql")
_logger = logging.getLogger("headway.run")


@dataclass(frozen=True, slots=True)
class RunInfo:
    """The root run that everything belongs to: a Prefect flow run, or one of the ledger's own."""

    id: str
    flow: str
    entrypoint: str
    mode: Literal["prefect", "ledger"]
    actor: str | None = None
    reason: str | None = None


_run: ContextVar[RunInfo | None] = ContextVar("headway_run", default=None)
at_end: list[Callable[[RunInfo], None]] = []
"""Called when a run leaves this process, however it ended: what was kept for it may go."""


def current_run() -> RunInfo:
    """The root run of this step or flow; ConfigurationError outside of one."""
    run = _run.get()
    if run is None:
        raise ConfigurationError(
            "no run is active: call a step from a flow (@pipeline), or inside ledger.in_run(…)"
        )
    return run


def active_run() -> RunInfo | None:
    """The root run, or None outside of one."""
    return _run.get()


def find_run(connection: Connection, run_id: str) -> Row[Any] | None:
    """The row of a run; None if the ledger does not know it."""
    return connection.execute(QUERIES["find_run"], {"id": run_id}).first()


def latest_runs(connection: Connection, limit: int) -> list[dict[str, Any]]:
    """The newest runs, the newest first, as plain fields."""
    rows = connection.execute(QUERIES["latest_runs"], {"limit": limit}).mappings()
    return [dict(row) for row in rows]


@contextmanager
def in_run(run: RunInfo, parameters: dict[str, Any] | None = None) -> Iterator[RunInfo]:
    """Everything inside belongs to ``run``; its row in `headway.run` says how it ended."""
    _write(
        "start_run",
        id=run.id,
        flow=run.flow,
        entrypoint=run.entrypoint,
        mode=run.mode,
        parameters=jsonb.dump(parameters or {}),
        actor=run.actor,
        reason=run.reason,
    )
    token = _run.set(run)
    try:
        yield run
    except Refused as refusal:
        _write_surely("finish_run", id=run.id, state="refused", message=jsonb.text(str(refusal)))
        raise
    except BaseException as error:
        _finish_failed(run, error)
        raise
    else:
        _write_surely("finish_run", id=run.id, state="completed", message=None)
    finally:
        _run.reset(token)
        for leave in at_end:
            leave(run)


def _finish_failed(run: RunInfo, error: BaseException) -> None:
    # The database may be what failed; then the error itself must not be hidden by this one.
    try:
        _write("finish_run", id=run.id, state="failed", message=_words(error))
    except Exception as second:
        _logger.warning("the end of run %s could not be recorded: %s", run.id, second)


def _words(error: BaseException) -> str:
    return jsonb.text(str(error)[:4000]) or type(error).__name__


def _write(query: str, **parameters: Any) -> None:
    with control_engine().begin() as connection:
        connection.execute(QUERIES[query], parameters)


def _write_surely(query: str, **parameters: Any) -> None:
    """Write although the database may be restarting: all steps are done, the run must not fail."""

    def warn(error: Exception, _wait: float) -> None:
        _logger.warning("the run's row could not be written (%s)", type(error).__name__)

    retries.call(lambda _attempt: _write(query, **parameters), warn)
