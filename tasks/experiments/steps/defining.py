"""Steps that define an experiment."""

from __future__ import annotations

import json

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.experiments.definition import starting
from tasks.experiments.definition.plan import ExperimentPlan
from tasks.experiments.definition.starting import StartedExperiment
from tasks.ledger import current_run, step

QUERIES = load_queries("tasks.experiments.definition")


@step(key="{plan.name}")
def start_experiment(tx: Connection, plan: ExperimentPlan) -> StartedExperiment:
    """Create the experiment with its arms and its metric, active at once.

    One of that name and the same plan is left as it is; with another plan it is Refused.
    """
    starting.ensure_metric(tx, plan.metric)
    split = {variant.name: variant.weight for variant in plan.variants}
    experiment_id = tx.scalar(
        QUERIES["insert_experiment"],
        plan.model_dump(include={"name", "description", "hypothesis", "minimum_sample_size"})
        | {"metric_type": plan.metric.kind, "split": json.dumps(split)}
        | {"actor": current_run().actor},
    )
    if experiment_id is None:
        return starting.find_same(tx, plan)
    starting.add_arms(tx, plan, experiment_id)
    return StartedExperiment(id=str(experiment_id), name=plan.name, is_new=True)
