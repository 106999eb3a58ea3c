"""One case for every registered step: the world it needs, and the arguments to call it with.

A step without a case fails `test_every_step_has_a_kill_case`. To add one: write a function that
prepares a fresh migrated database with real steps and returns the arguments of the step.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from sqlalchemy import text

import tasks
from tasks import clock
from tasks.alerts.model import Observation
from tasks.alerts.recording import observe
from tasks.database import control_engine
from tasks.experiments import steps as experiments
from tasks.experiments.assignment.allocation import reallocate
from tasks.experiments.assignment.units import UnitSource
from tasks.experiments.definition.plan import ExperimentPlan, MetricPlan, VariantPlan
from tasks.experiments.ingestion.files import scan_file
from tasks.experiments.ingestion.sources.model import QuerySource
from tasks.experiments.interactions.model import Met
from tasks.experiments.quality.model import SuiteFindings
from tasks.migrations import steps as migrations
from tasks.migrations.plans.gate import Part, PlanFacts
from tasks.migrations.rehearsal.model import RevisionEffect
from tasks.rollouts.changes.outcome import ManualOutcome
from tasks.rollouts.changes.updating import RolloutUpdate
from tasks.rollouts.definition.plan import RolloutPlan
from tasks.rollouts.definition.schedule import parse_schedule
from tasks.rollouts.steps import changing as rollouts
from tasks.rollouts.steps import ticking
from tests.database.migrations import HEAD, roll_back

for _module in pkgutil.walk_packages(tasks.__path__, "tasks."):
    if _module.name.rpartition(".")[2].startswith("steps"):
        import_module(_module.name)  # registers its steps

_EVENTS = Path(__file__).with_name("events.csv")
_STATISTICS = Path(__file__).with_name("statistics.csv")
_SAMPLES = Path(__file__).with_name("samples.csv")
_UNITS = Path(__file__).with_name("units.csv")
Arrange = Callable[[], dict[str, Any]]
KILL_CASES: dict[str, Arrange] = {}
# Steps with an effect outside their transaction can also die between the effect and its record.
STEPS_WITH_EFFECT = {
    "apply-revision",
    "archive-database",
    "resolve-conflict",
    "roll-back-revision",
}
# Steps that only look and write a verdict, or do what may be done again, are all alike: dying
# around the commit (and after the effect, if they have one) is enough there.
STEPS_ALIKE = {
    "archive-database",
    "resolve-conflict",
    "validate-schema",
    "check-drift",
    "check-preconditions",
    "gate-plan",
    "plan-environments",
    "rehearse-migrations",
    "review-hazards",
    "sweep-scratch-databases",
    "accept-reformatting",
    "list-unsent-notifications",
    "send-notification",
    "find-data-checks",
    "list-bandits",
    "list-metrics-to-calibrate",
    "list-overlapping-pairs",
    "list-reported-experiments",
    "list-unbalanced-experiments",
    "list-winners-to-roll-out",
    "measure-health",
    "measure-overlaps",
}


def kill_case(step: str) -> Callable[[Arrange], Arrange]:
    """Register the arrangement for a step, by its name."""

    def add(arrange: Arrange) -> Arrange:
        KILL_CASES[step] = arrange
        return arrange

    return add


@kill_case("purge-ledger-rows")
def _purge_ledger_rows() -> dict[str, Any]:
    _start("old", "v1")
    with control_engine().begin() as tx:
        tx.execute(text("UPDATE headway.step SET finished_at = now() - interval '100 days'"))
    return {"older_than": timedelta(days=90)}


@kill_case("purge-experiment-rows")
def _purge_experiment_rows() -> dict[str, Any]:
    _release_waiting_events()
    with control_engine().begin() as tx:
        tx.execute(text("SELECT track_event('button', 'bob', 'score', 3, 'e2')"))
        old = "received_at = '2020-01-01', event_timestamp = '2020-01-01'"
        tx.execute(text(f"UPDATE waiting_event SET {old}"))
        tx.execute(text("UPDATE ab_experiments SET status = 'completed'"))
    return {"waiting_days": 30}


@kill_case("purge-rollout-rows")
def _purge_rollout_rows() -> dict[str, Any]:
    ticking.progress_rollouts(**_progress_rollouts())
    _shift(hours=24 * 40)
    return {"check_days": 90, "sample_days": 30}


@kill_case("list-unsent-notifications")
def _list_unsent_notifications() -> dict[str, Any]:
    _send_notification()
    return {}


@kill_case("check-ticks")
def _check_ticks() -> dict[str, Any]:
    _start("ranker", "v2")
    _shift(hours=3)
    return {}


@kill_case("acknowledge-alert")
def _acknowledge_alert() -> dict[str, Any]:
    bad = Observation(
        subject="rollout:1",
        metric="error_rate",
        health="unhealthy",
        severity="warning",
        title="errors",
        message="too many",
    )
    with control_engine().begin() as tx:
        [opened] = observe(tx, [bad])
    return {"alert_id": opened.alert.id, "actor": "ada", "reason": "on it"}


@kill_case("resolve-alert")
def _resolve_alert() -> dict[str, Any]:
    return _acknowledge_alert()


@kill_case("load-health-samples")
def _load_health_samples() -> dict[str, Any]:
    return {"path": str(_SAMPLES)}


@kill_case("send-notification")
def _send_notification() -> dict[str, Any]:
    insert = (
        "INSERT INTO notification (dedupe_key, channel, kind, subject, payload) VALUES "
        """('k', 'gone', 'winner', 'experiment:a', '{"title": "t", "text": "x", "details": {}}') """
        "RETURNING id"
    )
    with control_engine().begin() as tx:
        return {"message_id": tx.scalar(text(insert))}


@kill_case("plan-migrations")
def _plan_migrations() -> dict[str, Any]:
    return {"environment": "local"}


@kill_case("plan-rollback")
def _plan_rollback() -> dict[str, Any]:
    return {"environment": "local", "steps": 1}


@kill_case("check-drift")
def _check_drift() -> dict[str, Any]:
    return {"environment": "local"}


@kill_case("check-preconditions")
def _check_preconditions() -> dict[str, Any]:
    return {"environment": "local", "revisions": (HEAD,), "direction": "upgrade"}


@kill_case("rehearse-migrations")
def _rehearse_migrations() -> dict[str, Any]:
    asked = {"environment": "local", "revisions": (HEAD,), "direction": "downgrade"}
    return {**asked, "is_quick": True}


@kill_case("review-hazards")
def _review_hazards() -> dict[str, Any]:
    return {"environment": "local", "revisions": (HEAD,), "direction": "upgrade"}


@kill_case("gate-plan")
def _gate_plan() -> dict[str, Any]:
    facts = PlanFacts(
        environment="local", direction="upgrade", revisions=(), heads=(HEAD,), fingerprint="f"
    )
    return {"facts": facts, "parts": (Part(name="plan", decision_id=1, verdict="allowed"),)}


@kill_case("apply-revision")
def _apply_revision() -> dict[str, Any]:
    roll_back(HEAD)
    return {"environment": "local", "revision": HEAD}


@kill_case("roll-back-revision")
def _roll_back_revision() -> dict[str, Any]:
    taken = RevisionEffect(revision=HEAD, direction="downgrade")
    return {"environment": "local", "revision": HEAD, "taken": taken}


@kill_case("archive-database")
def _archive_database() -> dict[str, Any]:
    experiments.create_experiment(plan=_button(), is_started=True)
    return {"environment": "local"}


@kill_case("accept-reformatting")
def _accept_reformatting() -> dict[str, Any]:
    return {"environment": "local", "revisions": (HEAD,)}


@kill_case("validate-schema")
def _validate_schema() -> dict[str, Any]:
    return {"environment": "local", "after": "looking"}


@kill_case("plan-environments")
def _plan_environments() -> dict[str, Any]:
    return {}


@kill_case("resolve-conflict")
def _resolve_conflict() -> dict[str, Any]:
    migrations.validate_schema(environment="local", after="first")
    with control_engine().begin() as tx:
        tx.execute(text("CREATE INDEX by_hand ON ab_experiments (hypothesis)"))
    return {"environment": "local", "how": "revert"}


@kill_case("sweep-scratch-databases")
def _sweep_scratch_databases() -> dict[str, Any]:
    return {"environment": "local"}


@kill_case("start-rollout")
def _start_rollout() -> dict[str, Any]:
    return {"plan": _plan("ranker", "v2"), "actor": "ada", "reason": "it won"}


@kill_case("plan-tick")
def _plan_tick() -> dict[str, Any]:
    _start("ranker", "v2")
    return {"slot": "2020-01-01T00:00Z"}


@kill_case("measure-health")
def _measure_health() -> dict[str, Any]:
    rollout = _start("ranker", "v2")
    _sample("v2", "error_rate", errors=80, requests=1000)
    return {"rollout_ids": [rollout.rollout_id]}


@kill_case("progress-rollouts")
def _progress_rollouts() -> dict[str, Any]:
    bad, good = _start("ranker", "v2"), _start("reader", "v3")
    _shift(hours=2)
    _sample("v2", "error_rate", errors=80, requests=1000)
    for metric, total in (("error_rate", 10), ("latency", 90_000), ("accuracy", 900)):
        _sample("v3", metric, errors=total, requests=1000)
    measured = ticking.measure_health(rollout_ids=[bad.rollout_id, good.rollout_id])
    return {"measured": measured, "slot": "2030-01-01T00:00Z"}


@kill_case("roll-back-rollout")
def _roll_back_rollout() -> dict[str, Any]:
    _start("ranker", "v2")
    return {"rollout": "ranker", "actor": "ada", "reason": "complaints"}


@kill_case("update-rollout")
def _update_rollout() -> dict[str, Any]:
    return {
        **_roll_back_rollout(),
        "update": RolloutUpdate(action="percentage", percentage=40.0),
    }


@kill_case("create-rollout")
def _create_rollout() -> dict[str, Any]:
    return _start_rollout()


@kill_case("start-draft")
def _start_draft() -> dict[str, Any]:
    rollouts.create_rollout(**_start_rollout())
    return {"rollout": "ranker", "starts_at": None, "actor": "ada", "reason": "it won"}


@kill_case("create-experiment")
def _create_experiment() -> dict[str, Any]:
    told = _button().model_dump(exclude={"variants"}) | {"layer": "chat", "layer_share": 0.5}
    factors = [{"name": "hue", "levels": ["red", "blue"]}, {"name": "size", "levels": ["s", "m"]}]
    return {"plan": ExperimentPlan(**told | {"factors": factors}), "is_started": True}


@kill_case("change-experiment")
def _change_experiment() -> dict[str, Any]:
    experiments.create_experiment(plan=_button())
    return {"experiment": "button", "action": "start"}


@kill_case("sync-experiment")
def _sync_experiment() -> dict[str, Any]:
    experiments.create_experiment(plan=_button())
    return {"plan": _button().model_copy(update={"alpha": 0.01})}


@kill_case("apply-schedule")
def _apply_schedule() -> dict[str, Any]:
    starts_at = datetime(2020, 1, 1, tzinfo=UTC)
    experiments.create_experiment(plan=_button().model_copy(update={"starts_at": starts_at}))
    return {}


@kill_case("list-due-experiments")
def _list_due_experiments() -> dict[str, Any]:
    experiments.create_experiment(plan=_button(), is_started=True)
    return {}


@kill_case("list-reported-experiments")
def _list_reported_experiments() -> dict[str, Any]:
    experiments.create_experiment(plan=_button(), is_started=True)
    return {}


@kill_case("ingest-batch")
def _ingest_batch() -> dict[str, Any]:
    experiments.create_experiment(plan=_button(), is_started=True)
    scan = scan_file(str(_EVENTS), batch_size=100)
    return {"path": str(_EVENTS), "sha256": scan.sha256, "batch": scan.batches[0]}


@kill_case("choose-day")
def _choose_day() -> dict[str, Any]:
    return {}


@kill_case("ingest-statistics")
def _ingest_statistics() -> dict[str, Any]:
    experiments.create_experiment(plan=_button(), is_started=True)
    scan = scan_file(str(_STATISTICS), batch_size=100)
    return {"path": str(_STATISTICS), "sha256": scan.sha256, "batch": scan.batches[0]}


@kill_case("ingest-piece")
def _ingest_piece() -> dict[str, Any]:
    experiments.ingest_batch(**_ingest_batch())
    query = (
        "SELECT 'button' AS experiment, 'ann' AS user_id, 'score' AS event_type, "
        "n AS event_value, timestamptz '2026-01-03' AS event_timestamp FROM generate_series(1, 5) n"
    )
    # Its own database, read as if it were somebody else's.
    return {"source": QuerySource(connection="HEADWAY_DATABASE_URL", query=query, batch_size=2)}


@kill_case("release-waiting-events")
def _release_waiting_events() -> dict[str, Any]:
    experiments.create_experiment(plan=_button(), is_started=True)
    track = "SELECT track_event('button', 'ann', 'score', 3, 'e1')"
    with control_engine().begin() as tx:
        tx.execute(text(track))  # before its unit is assigned
        tx.execute(text("SELECT assign_variant('button', 'ann')"))
    return {"slot": "2030-01-01T00"}


@kill_case("check-experiment-data")
def _check_experiment_data() -> dict[str, Any]:
    experiments.ingest_batch(**_ingest_batch())
    return {}


@kill_case("list-folded-experiments")
def _list_folded_experiments() -> dict[str, Any]:
    experiments.ingest_batch(**_ingest_batch())
    return {}


@kill_case("fold-statistics")
def _fold_statistics() -> dict[str, Any]:
    experiments.ingest_batch(**_ingest_batch())
    return {"experiment_ids": [each.id for each in experiments.list_folded_experiments()]}


@kill_case("recompute-statistics")
def _recompute_statistics() -> dict[str, Any]:
    arguments = _fold_statistics()
    experiments.fold_statistics(**arguments)
    return arguments


@kill_case("analyze-batch")
def _analyze_batch() -> dict[str, Any]:
    experiments.ingest_batch(**_ingest_batch())
    ids = [due.id for due in experiments.list_due_experiments()]
    experiments.fold_statistics(experiment_ids=ids)
    return {"experiment_ids": ids, "suites": SuiteFindings()}


@kill_case("list-bandits")
def _list_bandits() -> dict[str, Any]:
    _start_bandit()
    return {}


@kill_case("find-data-checks")
def _find_data_checks() -> dict[str, Any]:
    experiments.check_experiment_data()
    return {}


@kill_case("allocate-batch")
def _allocate_batch() -> dict[str, Any]:
    experiment_id = _start_bandit()
    _fold(experiment_id)
    return {"experiment_ids": [experiment_id], "suites": SuiteFindings()}


def _fold(experiment_id: str) -> None:
    """Fold, without the last digits: they depend on the order of adding up."""
    experiments.fold_statistics(experiment_ids=[experiment_id])
    with control_engine().begin() as tx:
        tx.execute(text("UPDATE moment_statistic SET m2 = round(m2)"))


@kill_case("list-metrics-to-calibrate")
def _list_metrics_to_calibrate() -> dict[str, Any]:
    _calibrate_metrics()
    return {}


@kill_case("calibrate-metrics")
def _calibrate_metrics() -> dict[str, Any]:
    metric = _button().metric.model_copy(update={"missing": "zero"})
    plan = _button().model_copy(update={"metric": metric})
    made = experiments.create_experiment(plan=plan, is_started=True)
    units = {"units": [f"u{number}" for number in range(200)]}
    with control_engine().begin() as tx:
        asked = "FROM unnest(CAST(:units AS text[])) AS u"
        tx.execute(text(f"SELECT assign_variant('button', u) {asked}"), units)
        score = "ascii(md5(u))"
        tx.execute(text(f"SELECT track_event('button', u, 'score', {score}, u) {asked}"), units)
    _fold(made.id)
    return {"metrics": experiments.list_metrics_to_calibrate(), "draws": 1000}


@kill_case("list-unbalanced-experiments")
def _list_unbalanced_experiments() -> dict[str, Any]:
    _balance_experiment()
    return {}


@kill_case("balance-experiment")
def _balance_experiment() -> dict[str, Any]:
    experiments.create_experiment(plan=_button(), is_started=True)
    with control_engine().begin() as tx:
        (row,) = tx.execute(text("SELECT id FROM ab_experiments"))
        reallocate(tx, row.id, {"control": 0.9, "blue": 0.1}, "ada", "carefully")
    return {"experiment": "button", "cause": "operator"}


def _start_bandit() -> str:
    """A bandit of two arms and forty units, whose arms differ."""
    metric = _button().metric.model_copy(update={"missing": "zero"})
    plan = _button().model_copy(update={"metric": metric})
    made = experiments.create_experiment(plan=plan, is_started=True)
    units = [f"u{number}" for number in range(40)]
    with control_engine().begin() as tx:
        tx.execute(text("""UPDATE experiment_plan SET bandit = '{"warm_up_units": 2}'"""))
        # Its age is a figure of the decision, and each run comes at another one.
        tx.execute(text("UPDATE ab_experiments SET started_at = NULL"))
        asked = "FROM unnest(CAST(:units AS text[])) AS u"
        tx.execute(text(f"SELECT assign_variant('button', u) {asked}"), {"units": units})
        score = "length(assign_variant('button', u)) + length(u)"
        tx.execute(
            text(f"SELECT track_event('button', u, 'score', {score}, u) {asked}"), {"units": units}
        )
    return made.id


@kill_case("list-overlapping-pairs")
def _list_overlapping_pairs() -> dict[str, Any]:
    for name in ("button", "banner"):
        experiments.create_experiment(
            plan=_button().model_copy(update={"name": name}), is_started=True
        )
        experiments.assign_units(experiment=name, source=UnitSource(path=str(_UNITS)))
    return {"most": 5}


@kill_case("measure-overlaps")
def _measure_overlaps() -> dict[str, Any]:
    found = experiments.list_overlapping_pairs(**_list_overlapping_pairs())
    return {"pairs": list(found.pairs)}


@kill_case("judge-interactions")
def _judge_interactions() -> dict[str, Any]:
    [found] = experiments.measure_overlaps(**_measure_overlaps())
    met = [
        Met(first_arm=first, second_arm=second, units=900 if first == second else 100)
        for first in ("control", "blue")
        for second in ("control", "blue")
    ]
    return {"overlapping": 1, "shared": [found.model_copy(update={"met": tuple(met)})]}


@kill_case("select-winner")
def _select_winner() -> dict[str, Any]:
    experiments.create_experiment(plan=_button(), is_started=True)
    return {"experiment": "button", "variant": "blue", "is_forced": True}


@kill_case("list-winners-to-roll-out")
def _list_winners_to_roll_out() -> dict[str, Any]:
    blue = VariantPlan(name="blue", weight=0.5, model_version="blue-v2")
    plan = _button().model_copy(
        update={"variants": (_button().variants[0], blue), "policy": "roll_out"}
    )
    experiments.create_experiment(plan=plan, is_started=True)
    experiments.select_winner(experiment="button", variant="blue", is_forced=True)
    return {}


@kill_case("roll-out-winner")
def _roll_out_winner() -> dict[str, Any]:
    _list_winners_to_roll_out()
    return {"experiment": "button"}


@kill_case("assign-units")
def _assign_units() -> dict[str, Any]:
    experiments.create_experiment(plan=_button(), is_started=True)
    return {"experiment": "button", "source": UnitSource(path=str(_UNITS))}


@kill_case("override-variant")
def _override_variant() -> dict[str, Any]:
    experiments.assign_units(**_assign_units())
    return {"experiment": "button", "unit": "ann", "variant": "blue"}


def _button() -> ExperimentPlan:
    return ExperimentPlan(
        name="button",
        variants=(
            VariantPlan(name="control", weight=0.5, is_control=True),
            VariantPlan(name="blue", weight=0.5),
        ),
        metric=MetricPlan(
            name="score", kind="mean", event_type="score", aggregation="sum", missing="exclude"
        ),
        planned_sample_size=4,
        minimum_sample_size=2,
    )


def _plan(name: str, version: str) -> RolloutPlan:
    return RolloutPlan(
        name=name, model_version=version, schedule=parse_schedule("5/2h,25/4h,100/8h")
    )


def _start(name: str, version: str) -> ManualOutcome:
    return rollouts.start_rollout(plan=_plan(name, version), actor="ada", reason="it won")


def _shift(**by: float) -> None:
    with control_engine().begin() as tx:
        clock.shift(tx, timedelta(**by))


def _sample(version: str, metric: str, *, errors: float, requests: int) -> None:
    with control_engine().begin() as tx:
        tx.execute(
            text("SELECT record_health_sample(:version, :metric, :errors, :requests)"),
            {"version": version, "metric": metric, "errors": errors, "requests": requests},
        )
    _shift(seconds=1)
