"""A step over many items, batch by batch; one that fails is found, and stops no other."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy.exc import DBAPIError

from tasks import retries
from tasks.database import explain
from tasks.ledger import Step

R = TypeVar("R")
K = TypeVar("K", bound=Hashable)


def in_batches(
    step: Step[Any, list[R]],
    items: Sequence[K],
    size: int,
    *,
    parameter: str = "experiment_ids",
    **given: Any,
) -> tuple[list[R], dict[K, Exception]]:
    """Call the step for batches of items; a failing one is halved until one is left alone.

    A batch that failed because the database is gone fails as a whole: its halves would wait just as
    long for nothing.

    Args:
        step: takes a list of items and returns a list.
        items: all of them.
        size: how many to give it at once.
        parameter: what the step calls them.
        given: the step's other arguments.

    Returns:
        What the batches gave that did not fail, and the errors of the items that did.
    """
    done: list[R] = []
    failures: dict[K, Exception] = {}
    batches = [list(items[i : i + size]) for i in range(0, len(items), size)]
    while batches:
        results = step.map([{parameter: batch, **given} for batch in batches])
        halves: list[list[K]] = []
        for batch, result in zip(batches, results, strict=True):
            if not isinstance(result, Exception):
                done += result
            elif len(batch) == 1 or retries.is_connection_lost(result):
                failures |= dict.fromkeys(batch, result)
            else:
                middle = len(batch) // 2
                halves += [batch[:middle], batch[middle:]]
        batches = halves
    return done, failures


def failures_of(results: Mapping[str, object]) -> dict[str, str]:
    """What failed, by name, as a run that ends with ItemsFailed says it."""
    return {
        name: f"{type(result).__name__}: {_words(result)}"
        for name, result in results.items()
        if isinstance(result, Exception)
    }


def _words(error: Exception) -> str:
    # A database error's own text is the statement, which may be a page long.
    return explain(error) if isinstance(error, DBAPIError) else str(error)
