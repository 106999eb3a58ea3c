"""Steps that look at experiments: what is due, whether the data are good, who wins."""

from __future__ import annotations

import hashlib

from sqlalchemy import Connection

from tasks.database import control_url, load_queries
from tasks.experiments.analysis import looking, selecting
from tasks.experiments.analysis.results import Analysis, DueExperiment
from tasks.experiments.analysis.selecting import SelectedWinner
from tasks.experiments.quality.model import SuiteFindings
from tasks.experiments.quality.suites import run_suites
from tasks.experiments.reporting.announcing import announce_looks
from tasks.ledger import step, step_logger

QUERIES = load_queries("tasks.experiments.analysis")


@step(key="active")
def list_due_experiments(tx: Connection) -> list[DueExperiment]:
    """List the experiments to look at: every active one with a primary metric."""
    rows = tx.execute(QUERIES["active_experiments"]).all()
    return [DueExperiment(id=row.id, name=row.name) for row in rows]


@step(key="experiment-tables")
def check_experiment_data(tx: Connection) -> SuiteFindings:
    """Run the data-quality suites over the experiment tables, once for all experiments."""
    return run_suites(tx, control_url())


def _of_batch(experiment_ids: list[str], suites: SuiteFindings | None = None) -> str:  # noqa: ARG001
    if len(experiment_ids) == 1:
        return experiment_ids[0]
    digest = hashlib.sha256(" ".join(experiment_ids).encode()).hexdigest()
    return f"{len(experiment_ids)}:{digest[:16]}"


@step(key=_of_batch)
def analyze_batch(
    tx: Connection, experiment_ids: list[str], suites: SuiteFindings | None = None
) -> list[Analysis]:
    """Look at some experiments: check, compare, decide, record every look and announce it.

    Skipped are those with nothing new since their last look, or no longer active. One that cannot
    be looked at fails the batch: the caller takes it apart.
    """
    analyses = looking.look(tx, experiment_ids, suites)
    announce_looks(tx, analyses)
    for analysis in analyses:
        if not analysis.is_skipped:
            step_logger().info("%s", analysis.summary)
    return analyses


@step(key="{experiment}")
def select_winner(
    tx: Connection, experiment: str, variant: str | None = None, is_forced: bool = False
) -> SelectedWinner:
    """Complete an experiment with a winner that a person chose, or agreed to.

    Refused where its last look names none, or another one; unless it is forced.
    """
    return selecting.select(tx, experiment, variant, is_forced=is_forced)
