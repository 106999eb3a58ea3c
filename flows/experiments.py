"""Define experiments: create one, change one, keep a folder of them in step."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from flows.artifacts import publish_report, publish_table
from flows.pipeline import Text, pipeline
from tasks import markdown
from tasks.database import control_engine
from tasks.errors import ItemsFailed
from tasks.experiments import steps
from tasks.experiments.definition.changing import ChangedExperiment
from tasks.experiments.definition.creating import CreatedExperiment
from tasks.experiments.definition.editing import ExperimentEdit
from tasks.experiments.definition.files import read_folder
from tasks.experiments.definition.lifecycle import Action
from tasks.experiments.definition.plan import ExperimentPlan
from tasks.experiments.definition.showing import as_markdown, show_experiment


@pipeline(name="create-experiment", run_name="create-experiment/{plan.name}")
def create_experiment(
    plan: ExperimentPlan, actor: Text, reason: Text, start: bool = False
) -> CreatedExperiment:
    """Create an experiment with its arms, its metrics and its planned size: a draft.

    The same plan a second time changes nothing; another plan under a name that is taken is
    refused.

    Args:
        plan: name, variants with weights that add up to 1 (one of them the control), metric,
            planned_sample_size; of a multivariate design factors in place of the variants;
            docs/experiments.md lists the rest.
        actor: who creates it.
        reason: why.
        start: start it at once; else it waits for its starts_at, or for change-experiment.
    """
    del actor, reason  # kept with the run
    created = steps.create_experiment(plan=plan, is_started=start)
    _publish(created.name, created.summary)
    return created


@pipeline(name="change-experiment", run_name="change-experiment/{action}/{experiment}")
def change_experiment(
    experiment: Text,
    action: Action,
    actor: Text,
    reason: Text,
    edit: ExperimentEdit | None = None,
    version: Annotated[int | None, Field(ge=1)] = None,
) -> ChangedExperiment:
    """Start, pause, resume, complete, archive, edit or delete an experiment.

    A draft may be edited in everything, and deleted. Once it has started, only what keeps its
    data valid may change: words, ends_at, a larger minimum_sample_size, the policy of a bandit,
    and the weights, which move only units that have no arm yet. Anything else is refused.

    Args:
        experiment: its name.
        action: what to do.
        actor: who does it.
        reason: why; it is kept for ever.
        edit: for the action edit, what is to be different.
        version: the version that you saw; refused where somebody changed it since.
    """
    del actor, reason  # kept with the run, and with the decision
    changed = steps.change_experiment(
        experiment=experiment, action=action, edit=edit, version=version
    )
    _publish(changed.name, changed.summary, is_there=changed.status is not None)
    return changed


def _publish(name: str, summary: str, *, is_there: bool = True) -> None:
    """Leave what was done, and the experiment as it is now."""
    parts = [markdown.plain(summary)]
    if is_there:
        with control_engine().connect() as connection:
            parts.append(as_markdown(show_experiment(connection, name)))
    publish_report(f"plan-{name}", "\n\n".join(parts))


@pipeline(name="sync-experiments", run_name="sync-experiments/{folder}")
def sync_experiments(folder: Text, actor: Text, reason: Text) -> list[ChangedExperiment]:
    """Bring the experiments in step with a folder of files, one plan a file (.toml, .json).

    New ones become drafts, which start at their starts_at; known ones are edited in what may
    be edited. A file that cannot be read, or whose change is refused, stops no other; the run
    then ends Failed and names it. Experiments without a file are left alone.

    Args:
        folder: as the worker sees it.
        actor: who does it.
        reason: why.
    """
    del actor, reason  # kept with the run, and with each decision
    found = read_folder(Path(folder))
    results = steps.sync_experiment.map([{"plan": plan} for plan in found.plans.values()])
    failures = found.failures | {
        file: str(result)
        for file, result in zip(found.plans, results, strict=True)
        if isinstance(result, Exception)
    }
    changed = [result for result in results if isinstance(result, ChangedExperiment)]
    rows = [{"experiment": each.name, "what": each.summary} for each in changed]
    rows += [{"experiment": file, "what": said} for file, said in failures.items()]
    publish_table("sync-experiments", rows)
    if not rows:
        publish_report("sync-experiments", f"No plan lies in {folder}: nothing to do.")
    if failures:
        raise ItemsFailed("files", failures)
    return changed
