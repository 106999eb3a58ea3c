"""Steps that fold events into sufficient statistics, and prove them."""

from __future__ import annotations

import uuid

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import NotFound
from tasks.experiments.folding import folding, recomputing
from tasks.experiments.folding.folding import FoldedExperiment, FoldSummary
from tasks.experiments.folding.recomputing import Difference
from tasks.experiments.reporting.announcing import announce_differences
from tasks.ledger import step, step_logger

QUERIES = load_queries("tasks.experiments.folding", "reading.sql")


def _batch_key(experiment_ids: list[str]) -> str:
    """One short name for the experiments of a batch; a key has no room for all of them."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, ",".join(experiment_ids)))


@step(key=_batch_key)
def fold_statistics(tx: Connection, experiment_ids: list[str]) -> list[FoldSummary]:
    """Bring the sufficient statistics of some experiments up to date, all in one transaction.

    What others load meanwhile waits for the next time; nothing is counted twice or lost.
    """
    summaries = folding.fold(tx, experiment_ids)
    for summary in summaries:
        if summary.left_out:
            step_logger().warning(
                "experiment %s: %d events are left out, their values are not finite or too large",
                summary.experiment_id,
                summary.left_out,
            )
    return summaries


@step(key="{experiment}")
def list_folded_experiments(
    tx: Connection, experiment: str | None = None
) -> list[FoldedExperiment]:
    """List the experiments whose statistics may be recomputed: all that run or pause, or one."""
    rows = tx.execute(QUERIES["folded_experiments"], {"experiment": experiment}).all()
    if experiment is not None and not rows:
        raise NotFound(f"no experiment called {experiment!r} has a metric")
    return [FoldedExperiment(id=row.id, name=row.name) for row in rows]


@step(key=_batch_key)
def recompute_statistics(tx: Connection, experiment_ids: list[str]) -> list[Difference]:
    """Work the statistics of some experiments out again from the raw events, and write them down.

    Returns what was folded wrong: nothing, unless there is a fault.
    """
    differences = recomputing.recompute(tx, experiment_ids)
    announce_differences(tx, differences)
    for difference in differences:
        step_logger().error("%s, %s: %s", difference.experiment, difference.metric, difference)
    return differences
