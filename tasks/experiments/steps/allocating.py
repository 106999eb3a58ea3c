"""Steps that move the traffic: of bandits by their figures, of fixed designs back to the plan."""

from __future__ import annotations

import uuid

from sqlalchemy import Connection

from tasks.experiments.quality.model import SuiteFindings
from tasks.experiments.traffic import allocating, balancing
from tasks.experiments.traffic.balancing import Cause
from tasks.experiments.traffic.checking import last_findings
from tasks.experiments.traffic.results import Allocated, Balanced, Bandit
from tasks.ledger import step, step_logger


@step(key="{experiment}")
def list_bandits(tx: Connection, experiment: str | None = None) -> list[Bandit]:
    """List the bandits to update: all active ones, or one by name; refused where it is none."""
    return allocating.list_bandits(tx, experiment)


@step(key="last")
def find_data_checks(tx: Connection) -> SuiteFindings | None:
    """Find what the suites said of the experiment tables within the last half hour."""
    return last_findings(tx)


def _of_batch(experiment_ids: list[str], suites: SuiteFindings | None = None) -> str:  # noqa: ARG001
    return str(uuid.uuid5(uuid.NAMESPACE_OID, ",".join(experiment_ids)))


@step(key=_of_batch)
def allocate_batch(
    tx: Connection, experiment_ids: list[str], suites: SuiteFindings | None = None
) -> list[Allocated]:
    """Update the split of some bandits: check, judge, record, and open an epoch where it changes.

    Skipped are those with nothing new since their last update. One that cannot be updated fails the
    batch: the caller takes it apart.
    """
    updates = allocating.allocate(tx, experiment_ids, suites)
    for each in updates:
        if each.outcome != "skipped":
            step_logger().info("%s", each.summary)
    return updates


@step(key="unbalanced")
def list_unbalanced_experiments(tx: Connection) -> list[Bandit]:
    """List fixed designs that are off their plan and whose sample ratio is wrong."""
    return balancing.list_unbalanced(tx)


@step(key="{experiment}")
def balance_experiment(tx: Connection, experiment: str, cause: Cause) -> Balanced:
    """Bring the split of a fixed design back to the plan; refused for a bandit."""
    balanced = balancing.balance(tx, experiment, cause)
    step_logger().info("%s", balanced.summary)
    return balanced
