"""Prove the statistics of experiments: work them out again from the raw events."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from flows.artifacts import publish_report, publish_table
from flows.notify import send_unsent
from flows.pipeline import Text, pipeline
from tasks.errors import ItemsFailed
from tasks.experiments import steps
from tasks.experiments.folding.folding import FoldedExperiment
from tasks.experiments.folding.recomputing import Difference

BATCH = 20


class Recomputed(BaseModel, frozen=True):
    """How many experiments' statistics were found right."""

    experiments: int


@pipeline(name="recompute-statistics")
def recompute_statistics(experiment: Text | None = None) -> Recomputed:
    """Work out every running experiment's statistics again from its raw events.

    They must equal what the hourly looks folded step by step, to nine digits. Where they do not,
    the right ones are written down, and the run fails and names experiment, metric and arm.

    Args:
        experiment: only this one, also when it is over.
    """
    due = steps.list_folded_experiments(experiment=experiment)
    differences: list[Difference] = []
    failures: dict[str, str] = {}
    for start in range(0, len(due), BATCH):
        _recompute(due[start : start + BATCH], differences, failures)
    publish_table("recompute-statistics", [each.model_dump() for each in differences])
    publish_report("recompute-statistics", _report(len(due), differences, failures))
    send_unsent()
    for each in differences:
        failures.setdefault(f"{each.experiment}, {each.metric}", str(each))
    if failures:
        raise ItemsFailed("statistics", failures)
    return Recomputed(experiments=len(due))


def _recompute(
    batch: Sequence[FoldedExperiment], differences: list[Difference], failures: dict[str, str]
) -> None:
    """Recompute a batch; one that fails is split until the failing experiment stands alone."""
    ids = [experiment.id for experiment in batch]
    (outcome,) = steps.recompute_statistics.map([{"experiment_ids": ids}])
    if not isinstance(outcome, Exception):
        differences.extend(outcome)
    elif len(batch) == 1:
        failures[batch[0].name] = f"{type(outcome).__name__}: {outcome}"
    else:
        half = len(batch) // 2
        _recompute(batch[:half], differences, failures)
        _recompute(batch[half:], differences, failures)


def _report(count: int, differences: Sequence[Difference], failures: dict[str, str]) -> str:
    if not differences and not failures:
        return f"The statistics of {count} experiments are right."
    lines = [f"- {each.experiment}, {each.metric}: {each}" for each in differences]
    lines += [f"- {name}: could not be recomputed: {why}" for name, why in failures.items()]
    return "\n".join([f"Of {count} experiments these statistics were wrong:", "", *lines])
