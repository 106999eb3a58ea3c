"""Where a flow runs when a person starts it from a terminal.

On the configured Prefect server's API, or on one of its workers with ``remote``; with no server
configured, by the ledger alone.
"""

from __future__ import annotations

import re
import uuid
from typing import Any, Literal, cast

import prefect
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowFilter,
    FlowFilterName,
)
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from pydantic import BaseModel

from flows.pipeline import run_by_ledger, validate
from tasks.errors import ConfigurationError, HeadwayError, InputError, NotFound, Refused


class Execution(BaseModel):
    """How a run ended that did not fail: where it ran, and what it returned."""

    run_id: str
    mode: Literal["prefect", "worker", "ledger"]
    result: Any


_INPUT_ERROR = re.compile(
    r"encountered an exception:? (?:[\w.]+\.)?(?:InputError|NotFound|UnknownName): "
)


class RunFailed(HeadwayError):
    """A run on a worker failed; the message is its state's."""


def execute(
    flow: prefect.Flow[..., Any], parameters: dict[str, Any], *, remote: bool = False
) -> Execution:
    """Run a flow to its end. Refused and failures are raised, whichever way it runs."""
    checked = validate(flow, parameters)
    if remote:
        return _on_worker(flow, parameters)
    if PREFECT_API_URL.value():
        return _in_this_process(flow, checked)
    run_id = str(uuid.uuid4())
    return Execution(run_id=run_id, mode="ledger", result=run_by_ledger(flow, parameters, run_id))


def _in_this_process(flow: prefect.Flow[..., Any], parameters: dict[str, Any]) -> Execution:
    # The heartbeat thread alone would add a second to every run.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        state: State[Any] = cast("Any", flow)(**parameters, return_state=True)
    result = state.result(raise_on_failure=True)
    return Execution(run_id=_run_id(state), mode="prefect", result=result)


def _on_worker(flow: prefect.Flow[..., Any], parameters: dict[str, Any]) -> Execution:
    if not PREFECT_API_URL.value():
        raise ConfigurationError("--remote needs a Prefect server: set PREFECT_API_URL")
    with get_client(sync_client=True) as client:
        deployment = _deployment_of(client, flow)
    started = run_deployment(deployment, parameters=parameters, timeout=None, as_subflow=False)
    flow_run = cast("FlowRun", started)  # no coroutine, because we are not in an event loop
    state = flow_run.state
    if state is None or not state.is_completed():
        raise _failure(flow.name, state)
    with get_client(sync_client=True) as client:
        told = _what_is_left(client, flow_run)
    return Execution(run_id=str(flow_run.id), mode="worker", result=told)


def _what_is_left(client: SyncPrefectClient, flow_run: FlowRun) -> str:
    """What a run returned stays on its worker: say where in the UI a person reads about it."""
    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run.id]))
    artifacts = client.read_artifacts(artifact_filter=of_run)
    keys = ", ".join(sorted({each.key for each in artifacts if each.key}))
    return f"completed: {flow_run.name}; its artifacts: {keys or 'none'}"


def _deployment_of(client: SyncPrefectClient, flow: prefect.Flow[..., Any]) -> Any:
    found = client.read_deployments(flow_filter=FlowFilter(name=FlowFilterName(any_=[flow.name])))
    if not found:
        raise NotFound(
            f"the Prefect server has no deployment of {flow.name}; run `prefect deploy --all`"
        )
    # One that runs by the clock drops a run that comes while another one is going on.
    by_hand = [each for each in found if each.name == "manual"]
    return (by_hand or found)[0].id


def _failure(name: str, state: State[Any] | None) -> HeadwayError:
    message = (state.message if state else None) or "no message"
    if state is not None and state.name == "Refused":
        return Refused.from_text(message)
    if found := _INPUT_ERROR.search(message):  # only the text of it comes back from a worker
        return InputError(message[found.end() :])
    return RunFailed(f"{name} ended {state.name if state else 'without a state'}: {message}")


def _run_id(state: State[Any]) -> str:
    return str(state.state_details.flow_run_id)
