"""Steps that define an experiment."""

from __future__ import annotations

from sqlalchemy import Connection

from tasks.experiments.definition import creating
from tasks.experiments.definition.creating import CreatedExperiment
from tasks.experiments.definition.plan import ExperimentPlan
from tasks.ledger import current_run, step


@step(key="{plan.name}")
def create_experiment(
    tx: Connection, plan: ExperimentPlan, is_started: bool = False
) -> CreatedExperiment:
    """Create the experiment with its arms and metrics: a draft, or active at once.

    One of that name and the same plan is left as it is; with another plan it is Refused.
    """
    run = current_run()
    experiment_id = creating.insert(tx, plan, run.actor)
    if experiment_id is None:
        return creating.find_same(tx, plan)
    if is_started:
        creating.start(tx, experiment_id, run.actor, run.reason)
    status = "active" if is_started else "draft"
    return CreatedExperiment(id=str(experiment_id), name=plan.name, status=status, is_new=True)
