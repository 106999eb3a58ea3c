"""One step under Prefect's engine, in a flow run that can be run again by its id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import prefect
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    temporary_settings,
)
from prefect.states import Pending

from flows.pipeline import pipeline
from tasks.ledger import Step

_calls: list[Callable[[], Any]] = []  # what the run is to do: set in the process that does it


@pipeline(name="one-step")
def one_step() -> None:
    """Run one step."""
    _calls[-1]()


def create_run() -> str:
    """A new flow run on the configured server; returns its id."""
    with get_client(sync_client=True) as client:
        return str(client.create_flow_run(one_step, state=Pending()).id)


def call(api: str, step: Step[Any, Any], arguments: dict[str, Any], run_id: str) -> None:
    """Run the flow run's body, for the first time or again."""
    flow: prefect.Flow[..., Any] = one_step
    with temporary_settings({PREFECT_API_URL: api, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        with get_client(sync_client=True) as client:
            flow_run = client.read_flow_run(UUID(run_id))
        _calls.append(lambda: step(**arguments))
        state: Any = run_flow(flow, flow_run=flow_run, parameters={}, return_type="state")
        state.result(raise_on_failure=True)
