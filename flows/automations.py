"""What the Prefect server does by itself when something happens: automations as data."""

from __future__ import annotations

from datetime import timedelta

from prefect.automations import AutomationCore, EventTrigger, Posture
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.events import ResourceSpecification

# Flow runs send a heartbeat every 30 s: three may be lost.
HEARTBEAT_PATIENCE = timedelta(seconds=90)


def dead_worker(patience: timedelta = HEARTBEAT_PATIENCE) -> AutomationCore:
    """Mark a run Crashed when its worker died: it said that it runs, and says nothing any more.

    Without this such a run stays Running for ever. `headway resume RUN` then resumes it.
    """
    return AutomationCore(
        name="headway: worker died",
        description="A flow run whose heartbeat stopped is Crashed; `headway resume` resumes it.",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            after={"prefect.flow-run.heartbeat"},
            # Any event, because states have names of our own, such as Refused.
            expect={"prefect.flow-run.*"},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            threshold=1,
            within=patience,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message="no heartbeat: the worker died. `headway resume RUN` resumes the run",
            )
        ],
    )


def automations() -> list[AutomationCore]:
    """Every automation of Headway; the name is its identity."""
    return [dead_worker()]


def create_automations(wanted: list[AutomationCore] | None = None) -> list[str]:
    """Create or update the automations on the configured server; return their names."""
    chosen = automations() if wanted is None else wanted
    with get_client(sync_client=True) as client:
        for automation in chosen:
            known = client.read_automations_by_name(automation.name)
            if known:
                client.update_automation(known[0].id, automation)
            else:
                client.create_automation(automation)
    return [automation.name for automation in chosen]
