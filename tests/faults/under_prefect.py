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
from prefect.utilities.callables import get_call_parameters
from prefect.utilities.collections import visit_collection
from prefect.utilities.engine import resolve_to_final_result

from flows.pipeline import pipeline
from tasks.ledger import Step, registered_steps

# Prefect goes the same way with every step, and the ledger's way is the same without Prefect, so of
# each kind a few are enough: plain arguments or models, a key from a template or a function, an
# effect inside or outside the transaction. What it makes of arguments is tried for all.
STEPS_OF_EACH_KIND = {
    "apply-revision",
    "roll-back-revision",
    "analyze-batch",
    "ingest-batch",
    "override-variant",
    "create-experiment",
}

_calls: list[Callable[[], Any]] = []  # what the run is to do: set in the process that does it


@pipeline(name="one-step")
def one_step() -> None:
    """Run one step."""
    _calls[-1]()


def create_run() -> str:
    """A new flow run on the configured server; returns its id."""
    with get_client(sync_client=True) as client:
        return str(client.create_flow_run(one_step, state=Pending()).id)


def handed_over(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """What a step gets of its arguments after Prefect's search for futures among them."""
    given = get_call_parameters(registered_steps()[name].task.fn, (), arguments)
    found: dict[str, Any] = visit_collection(
        given,
        visit_fn=resolve_to_final_result,
        return_data=True,
        max_depth=-1,
        remove_annotations=True,
        context={"parameter_name": name},
    )
    return {parameter: found[parameter] for parameter in arguments}


def call(api: str, step: Step[Any, Any], arguments: dict[str, Any], run_id: str) -> None:
    """Run the flow run's body, for the first time or again."""
    flow: prefect.Flow[..., Any] = one_step
    with temporary_settings({PREFECT_API_URL: api, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        with get_client(sync_client=True) as client:
            flow_run = client.read_flow_run(UUID(run_id))
        _calls.append(lambda: step(**arguments))
        state: Any = run_flow(flow, flow_run=flow_run, parameters={}, return_type="state")
        state.result(raise_on_failure=True)
