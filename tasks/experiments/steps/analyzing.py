"""Steps that look at experiments: what is due, whether the data are good, who wins."""

from __future__ import annotations

from sqlalchemy import Connection

from tasks.database import control_url, load_queries
from tasks.decisions import decide
from tasks.errors import NotFound
from tasks.experiments.analysis import looking
from tasks.experiments.analysis.results import Analysis, DueExperiment
from tasks.experiments.decision.evidence import Quality
from tasks.experiments.decision.winner import decide_winner
from tasks.ledger import step, step_logger

QUERIES = load_queries("tasks.experiments.analysis")
SUITES = ("ab_experiments", "ab_variants", "ab_assignments", "ab_metrics")


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
