"""Define experiments: create one, change one, keep a folder of them in step."""

from __future__ import annotations

from flows.pipeline import Text, pipeline
from tasks.experiments import steps
from tasks.experiments.definition.creating import CreatedExperiment
from tasks.experiments.definition.plan import ExperimentPlan


@pipeline(name="create-experiment", run_name="create-experiment/{plan.name}")
def create_experiment(
    plan: ExperimentPlan, actor: Text, reason: Text, start: bool = False
) -> CreatedExperiment:
    """Create an experiment with its arms, its metrics and its planned size: a draft.

    The same plan a second time changes nothing; another plan under a name that is taken is
    refused.

    Args:
        plan: name, variants with weights that add up to 1 (one of them the control), metric,
            planned_sample_size; docs/experiments.md lists the rest.
        actor: who creates it.
        reason: why.
        start: start it at once; else it waits for its starts_at, or for change-experiment.
    """
    del actor, reason  # kept with the run
    return steps.create_experiment(plan=plan, is_started=start)
