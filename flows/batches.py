"""A step over many experiments, batch by batch; one that fails is found, and stops no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from tasks.ledger import Step

R = TypeVar("R")


def in_batches(
    step: Step[Any, list[R]], experiment_ids: Sequence[str], size: int, **given: Any
) -> tuple[list[R], dict[str, Exception]]:
    """Call the step for batches of experiments; a failing one is halved until one is left alone.

    Args:
        step: takes ``experiment_ids`` and returns a list.
        experiment_ids: all of them.
        size: how many to give it at once.
        given: the step's other arguments.

    Returns:
        What the batches gave that did not fail, and the errors of the experiments that did.
    """
    done: list[R] = []
    failures: dict[str, Exception] = {}
    batches = [list(experiment_ids[i : i + size]) for i in range(0, len(experiment_ids), size)]
    while batches:
        results = step.map([{"experiment_ids": batch, **given} for batch in batches])
        halves: list[list[str]] = []
        for batch, result in zip(batches, results, strict=True):
            if not isinstance(result, Exception):
                done += result
            elif len(batch) == 1:
                failures[batch[0]] = result
            else:
                middle = len(batch) // 2
                halves += [batch[:middle], batch[middle:]]
        batches = halves
    return done, failures


def failures_of(results: Mapping[str, object]) -> dict[str, str]:
    """What failed, by name, as a run that ends with ItemsFailed says it."""
    return {
        name: f"{type(result).__name__}: {result}"
        for name, result in results.items()
        if isinstance(result, Exception)
    }
