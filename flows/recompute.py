"""Prove the statistics of experiments: work them out again from the raw events."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from flows.artifacts import publish_report, publish_table
from flows.batches import failures_of, in_batches
from flows.notify import send_unsent
from flows.pipeline import Text, one_or_all, pipeline
from tasks.errors import ItemsFailed
from tasks.experiments import steps
from tasks.experiments.folding.recomputing import Difference

BATCH = 20


class Recomputed(BaseModel, frozen=True):
    """How many experiments' statistics were found right; where any differ the run fails."""

    experiments: int
    differences: int = 0

    @property
    def summary(self) -> str:
        """One line."""
        if not self.experiments:
            return "nothing to recompute: no experiment runs or pauses"
        whose = f"{self.experiments} experiment{'s' * (self.experiments > 1)}"
        return f"{whose} recomputed from the raw events: {self.differences} differences"


@pipeline(name="recompute-statistics", run_name=one_or_all("experiment"))
def recompute_statistics(experiment: Text | None = None) -> Recomputed:
    """Work out every running experiment's statistics again from its raw events.

    They must equal what the hourly looks folded step by step, to nine digits. Where they do not,
    the right ones are written down, and the run fails and names experiment, metric and arm.

    Args:
        experiment: only this one, also when it is over.
    """
    due = steps.list_folded_experiments(experiment=experiment)
    names = {each.id: each.name for each in due}
    found, failed = in_batches(steps.recompute_statistics, list(names), BATCH)
    differences: list[Difference] = list(found)
    failures = failures_of({names[each]: error for each, error in failed.items()})
    publish_table("recompute-statistics", [each.model_dump() for each in differences])
    publish_report("recompute-statistics", _report(len(due), differences, failures))
    send_unsent()
    for each in differences:
        failures.setdefault(f"{each.experiment}, {each.metric}", str(each))
    if failures:
        raise ItemsFailed("statistics", failures)
    return Recomputed(experiments=len(due))


def _report(count: int, differences: Sequence[Difference], failures: dict[str, str]) -> str:
    if not differences and not failures:
        return f"The statistics of {count} experiments are right: 0 differences."
    lines = [f"- {each.experiment}, {each.metric}: {each}" for each in differences]
    lines += [f"- {name}: could not be recomputed: {why}" for name, why in failures.items()]
    return "\n".join([f"Of {count} experiments these statistics were wrong:", "", *lines])
