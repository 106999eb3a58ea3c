"""Resume a run that died: what it had done stays done, the rest is done now."""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any, Literal
from uuid import UUID

import prefect
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL
from prefect.states import Scheduled
from pydantic import BaseModel
from sqlalchemy import Row

from flows.pipeline import run_by_ledger
from tasks.database import control_engine
from tasks.errors import ConfigurationError, InputError, NotFound
from tasks.runs import find_run

# A worker reports a crash a second time about 3 s later and overwrites a state set in between.
_SECOND_REPORT_SECONDS = 5.0


class Resumed(BaseModel):
    """What became of the run."""

    run_id: str
    flow: str
    outcome: Literal["completed", "was-completed", "scheduled"]


def resume(run_id: str) -> Resumed:
    """Resume a run of either kind by its id; NotFound if neither ledger nor server knows it."""
    _check_id(run_id)
    with control_engine().connect() as connection:
        row = find_run(connection, run_id)
    if row is not None and row.state == "completed":
        return Resumed(run_id=run_id, flow=row.flow, outcome="was-completed")
    if row is not None and row.mode == "ledger":
        run_by_ledger(_load(row.entrypoint), row.parameters, run_id)
        return Resumed(run_id=run_id, flow=row.flow, outcome="completed")
    return _resume_on_server(run_id, row)


def _resume_on_server(run_id: str, row: Row[Any] | None) -> Resumed:
    if not PREFECT_API_URL.value():
        known = "it belongs to a Prefect server" if row else "the ledger does not know it"
        raise ConfigurationError(f"run {run_id}: {known}; set PREFECT_API_URL and try again")
    with get_client(sync_client=True) as client:
        flow_run = _read_run(client, run_id)
        if flow_run.state is not None and flow_run.state.is_completed():
            return Resumed(
                run_id=run_id, flow=_flow_name(client, flow_run), outcome="was-completed"
            )
        if flow_run.deployment_id is not None:
            _schedule(client, flow_run)
            return Resumed(run_id=run_id, flow=_flow_name(client, flow_run), outcome="scheduled")
    if row is None:
        raise InputError(f"run {run_id} has no deployment and did not reach the ledger; start anew")
    flow = _load(row.entrypoint)
    state: Any = run_flow(
        flow, flow_run=flow_run, parameters=flow_run.parameters, return_type="state"
    )
    state.result(raise_on_failure=True)
    return Resumed(run_id=run_id, flow=row.flow, outcome="completed")


def _schedule(client: SyncPrefectClient, flow_run: FlowRun) -> None:
    """Hand the run to a worker again, and see that a late crash report did not undo it."""
    client.set_flow_run_state(flow_run.id, Scheduled(message="resumed by a person"), force=True)
    time.sleep(_SECOND_REPORT_SECONDS)
    state = client.read_flow_run(flow_run.id).state
    if state is not None and state.is_crashed():
        client.set_flow_run_state(flow_run.id, Scheduled(message="resumed by a person"), force=True)


def _read_run(client: SyncPrefectClient, run_id: str) -> FlowRun:
    try:
        return client.read_flow_run(UUID(run_id))
    except ObjectNotFound:
        raise NotFound(f"neither the ledger nor the Prefect server knows run {run_id}") from None


def _flow_name(client: SyncPrefectClient, flow_run: FlowRun) -> str:
    return client.read_flow(flow_run.flow_id).name


def _load(entrypoint: str) -> prefect.Flow[..., Any]:
    module, _, name = entrypoint.partition(":")
    flow = getattr(import_module(module), name)
    if not isinstance(flow, prefect.Flow):
        raise InputError(f"{entrypoint} is not a flow any more; the run cannot be resumed")
    return flow


def _check_id(run_id: str) -> None:
    try:
        UUID(run_id)
    except ValueError:
        raise InputError(f"{run_id!r} is not a run id; `headway runs` lists them") from None
