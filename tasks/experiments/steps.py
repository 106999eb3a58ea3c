"""Steps of the experiments: start one, load rows, check the data, look at the results."""

from __future__ import annotations

import json

from sqlalchemy import Connection

from tasks.database import control_url, load_queries
from tasks.decisions import decide
from tasks.errors import NotFound
from tasks.experiments import loading, looking, starting
from tasks.experiments.analysis import Analysis, DueExperiment, IngestedBatch, StartedExperiment
from tasks.experiments.decision import decide_winner
from tasks.experiments.evidence import Quality
from tasks.experiments.formats import Batch
from tasks.experiments.plan import ExperimentPlan
from tasks.ledger import current_run, step, step_logger

QUERIES = load_queries(__package__)
SUITES = ("ab_experiments", "ab_variants", "ab_assignments", "ab_metrics")


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


@step(
    key=lambda path, sha256, batch, experiment=None: (  # noqa: ARG005 - same content, same batch
        f"{sha256}:{experiment or ''}:{batch.first_row}+{batch.row_count}"
    ),
)
def ingest_batch(
    tx: Connection, path: str, sha256: str, batch: Batch, experiment: str | None = None
) -> IngestedBatch:
    """Load one batch of rows: assignments and events once each, broken rows with their reason.

    One that an earlier run loaded is left alone, unless rows of it were rejected for want of an
    experiment, a variant, an assignment or the time to come: then what fits by now is loaded.
    """
    content = {
        "sha256": sha256,
        "experiment": experiment or "",
        "first_row": batch.first_row,
        "row_count": batch.row_count,
    }
    tx.execute(QUERIES["lock_content"], content)
    known = tx.execute(QUERIES["find_batch"], content).first()
    if known is not None and not known.may_fit_now:
        return loading.known_batch(batch, known)
    loaded = loading.load(tx, path, sha256, batch, experiment)
    if known is not None:
        return loaded
    batch_id = tx.scalar(
        QUERIES["record_batch"],
        content
        | loaded.model_dump(include={"assignments", "events", "duplicates", "rejected"})
        | {"source": path, "batch_number": batch.number, "run_id": current_run().id},
    )
    tx.execute(QUERIES["keep_rejected"], content | {"batch_id": batch_id})
    return loaded


@step(key="active")
def list_due_experiments(tx: Connection) -> list[DueExperiment]:
    """List the experiments to look at: every active one with a primary metric."""
    rows = tx.execute(QUERIES["active_experiments"]).all()
    return [DueExperiment(id=row.id, name=row.name) for row in rows]


@step(key="experiment-tables")
def check_experiment_data(tx: Connection) -> Quality:  # noqa: ARG001 - reads on its own connection
    """Run the data-quality suites over the experiment tables: passed, failed or unknown."""
    from tasks.validation import validate_tables

    summaries = validate_tables(control_url(), SUITES)
    failed = [summary for summary in summaries if summary.has_critical_failure]
    unchecked = [summary for summary in summaries if summary.has_unchecked]
    if not failed and not unchecked:
        return Quality(outcome="passed")
    problems = [
        f"{summary.table}: {problem.reason or problem.expectation}"
        for summary in failed or unchecked
        for problem in summary.problems
        if problem.severity == "critical" or not failed
    ]
    return Quality(outcome="failed" if failed else "unknown", message="; ".join(problems[:5]))


@step(key="{experiment_id}")
def analyze_experiment(tx: Connection, experiment_id: str, quality: Quality) -> Analysis:
    """Look at one experiment: compare its arms, decide, and record the look with the verdict.

    Skipped where nothing is new since the last look, or the experiment is no longer active.
    """
    plan = tx.execute(QUERIES["lock_experiment"], {"experiment_id": experiment_id}).first()
    if plan is None:
        raise NotFound(f"experiment {experiment_id} does not exist, or has no primary metric")
    if plan.status != "active":
        return looking.skipped(plan, f"it is {plan.status}")
    arms, earlier = looking.observe(tx, plan)
    evidence = looking.evidence_of(plan, arms, earlier, quality)
    if looking.is_nothing_new(evidence, arms, earlier):
        return looking.skipped(plan, "nothing is new since its last look")
    decided = decide(tx, decide_winner, evidence, subject=f"experiment:{plan.name}")
    looking.record_look(tx, plan, arms, decided)
    is_over = looking.fill_results(tx, plan, arms, decided.verdict)
    message = decided.verdict.reasons[0].message
    step_logger().info("%s: %s: %s", plan.name, decided.verdict.verdict, message)
    return Analysis(
        experiment=plan.name,
        metric=plan.metric,
        kind=plan.kind,
        is_skipped=False,
        is_over=is_over,
        message=message,
        decision_id=decided.id,
        verdict=decided.verdict,
        looks=looking.past_looks(tx, plan),
    )
