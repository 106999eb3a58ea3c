"""Steps that define an experiment: create it, change it, keep it in step with its file."""

from __future__ import annotations

from sqlalchemy import Connection

from tasks.experiments.definition import changing, creating, scheduling
from tasks.experiments.definition.changing import ChangedExperiment
from tasks.experiments.definition.creating import CreatedExperiment
from tasks.experiments.definition.editing import ExperimentEdit
from tasks.experiments.definition.lifecycle import Action
from tasks.experiments.definition.plan import ExperimentPlan
from tasks.experiments.definition.scheduling import ScheduledChanges
from tasks.ledger import current_run, step


@step(key="{plan.name}")
def create_experiment(
    tx: Connection, plan: ExperimentPlan, is_started: bool = False
) -> CreatedExperiment:
    """Create the experiment with its arms and metrics: a draft, or active at once.

    One of that name and the same plan is left as it is, but started where it is a draft and that
    is asked for; with another plan it is Refused.
    """
    run = current_run()
    experiment_id = creating.insert(tx, plan, run.actor)
    if experiment_id is None:
        found = creating.find_same(tx, plan)
        if not is_started or found.status != "draft":
            return found
        changing.change(tx, plan.name, "start")
        return found.model_copy(update={"status": "active"})
    if is_started:
        creating.start(tx, experiment_id, run.actor, run.reason)
    status = "active" if is_started else "draft"
    return CreatedExperiment(id=str(experiment_id), name=plan.name, status=status, is_new=True)


@step(key="{action}:{experiment}")
def change_experiment(
    tx: Connection,
    experiment: str,
    action: Action,
    edit: ExperimentEdit | None = None,
    version: int | None = None,
) -> ChangedExperiment:
    """Start, pause, resume, complete, archive, edit or delete one experiment.

    The change is kept as a decision, with who and why. Refused where it is not allowed in the
    experiment's state, or somebody else changed it since `version`.
    """
    return changing.change(tx, experiment, action, edit, version)


@step(key="{plan.name}")
def sync_experiment(tx: Connection, plan: ExperimentPlan) -> ChangedExperiment:
    """Create the experiment as a draft, or edit the one of that name until it is as planned.

    Refused, naming the fields, where it has started and they are fixed by now.
    """
    return changing.synchronise(tx, plan, current_run().actor)


@step(key="now")
def apply_schedule(tx: Connection) -> ScheduledChanges:
    """Start the drafts whose `starts_at` has come, complete what is past its `ends_at`.

    What has ended is completed after one more look, or an hour later. One that cannot be changed
    stops no other; the result names it.
    """
    return scheduling.apply_schedule(tx)
