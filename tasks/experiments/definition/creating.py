"""Put a planned experiment into its tables, or find that it is there already."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks import jsonb
from tasks.errors import Reason, Refused
from tasks.experiments.assignment.allocation import open_first_epoch
from tasks.experiments.definition.editing import as_it_stands, differences
from tasks.experiments.definition.factors import levels_of
from tasks.experiments.definition.parents import check_parent
from tasks.experiments.definition.plan import ExperimentPlan, MetricPlan
from tasks.experiments.definition.reading import QUERIES, read_experiment
from tasks.experiments.layers.slots import free_slot, take_slot

_OF_EXPERIMENT = {"name", "description", "hypothesis", "target_bot", "minimum_sample_size"}
_OF_PLAN = {
    "method",
    "policy",
    "power",
    "minimum_effect",
    "minimum_weeks",
    "reserved_alpha",
    "tie_break_metric",
    "organization",
    "traffic_fraction",
    "starts_at",
    "ends_at",
    "is_holdout",
    "segment_of",
}


class CreatedExperiment(BaseModel):
    """An experiment that is there now; ``is_new`` is False where it had been before."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    status: str
    is_new: bool

    @property
    def summary(self) -> str:
        """One line."""
        if not self.is_new:
            return f"{self.name}: nothing to do; it is there already, {self.status}"
        return f"{self.name}: {'started' if self.status == 'active' else 'created as a draft'}"


def insert(tx: Connection, plan: ExperimentPlan, actor: str | None) -> UUID | None:
    """Write a draft; returns its id, or None where the name is taken.

    NotFound where it is a segment of nothing, Refused where its metrics mean something else, or
    its layer has no room.
    """
    ensure_metrics(tx, plan.measures)
    experiment_id: UUID | None = tx.scalar(
        QUERIES["insert_experiment"], experiment_columns(plan) | {"actor": actor}
    )
    if experiment_id is not None:
        check_parent(tx, plan)
        insert_parts(tx, experiment_id, plan)
        place_in_layer(tx, experiment_id, plan, actor)
    return experiment_id


def insert_parts(tx: Connection, experiment_id: UUID, plan: ExperimentPlan) -> None:
    """Write what hangs on a new experiment: its plan, its arms and the roles of its metrics."""
    key = {"experiment_id": experiment_id}
    tx.execute(QUERIES["insert_plan"], key | plan_columns(plan))
    insert_variants(tx, experiment_id, plan)
    insert_roles(tx, experiment_id, plan)


def insert_variants(tx: Connection, experiment_id: UUID, plan: ExperimentPlan) -> None:
    """Write the arms, and of a multivariate design the levels that each of them has."""
    key = {"experiment_id": experiment_id}
    tx.execute(QUERIES["insert_variants"], key | {"variants": jsonb.dump(plan.variants)})
    if plan.design is not None:
        levels = levels_of(plan.design)
        tx.execute(QUERIES["insert_levels"], key | {"levels": jsonb.dump(levels)})


def place_in_layer(
    tx: Connection, experiment_id: UUID, plan: ExperimentPlan, actor: str | None
) -> None:
    """Give a draft the part of a layer that it is planned with, and back what it no longer is."""
    if plan.layer is None or plan.layer_share is None:
        free_slot(tx, experiment_id)
    else:
        take_slot(tx, experiment_id, plan.layer, plan.layer_share, actor)


def insert_roles(tx: Connection, experiment_id: UUID, plan: ExperimentPlan) -> None:
    """Write which metric has which role in the experiment."""
    tx.execute(
        QUERIES["insert_experiment_metrics"],
        plan.model_dump(include={"planned_sample_size", "is_stopped_at_winner"})
        | {"experiment_id": experiment_id, "used": jsonb.dump(_roles(plan))},
    )


def plan_columns(plan: ExperimentPlan) -> dict[str, Any]:
    """What `experiment_plan` holds of the plan."""
    return plan.model_dump(include=_OF_PLAN) | {
        "method_options": jsonb.dump(plan.method_options),
        "target_rules": jsonb.dump(plan.target_rules),
        "dimensions": list(plan.dimensions),
        "bandit": jsonb.dump(plan.bandit) if plan.bandit else None,
        "factors": jsonb.dump(plan.factors) if plan.factors else None,
        "generators": list(plan.generators),
    }


def experiment_columns(plan: ExperimentPlan) -> dict[str, Any]:
    """What `ab_experiments` holds of the plan."""
    split = {variant.name: variant.weight for variant in plan.variants}
    return plan.model_dump(include=_OF_EXPERIMENT) | {
        "metric_type": plan.metric.kind,
        "split": jsonb.dump(split),
    }


def ensure_metrics(tx: Connection, metrics: tuple[MetricPlan, ...]) -> None:
    """Create the metrics that nobody has described; Refused where a name means another one."""
    wanted = {metric.name: _described(metric) for metric in metrics}
    # In the order of their names: two creations at once then wait for each other, in no circle.
    ordered = [wanted[name] for name in sorted(wanted)]
    tx.execute(QUERIES["insert_metrics"], {"metrics": jsonb.dump(ordered)})
    reasons = []
    for known in tx.execute(QUERIES["find_metrics"], {"names": list(wanted)}):
        differing = [
            field
            for field, value in wanted[known.name].items()
            if field != "description" and known.described[field] != value
        ]
        if differing:
            message = f"metric {known.name!r} exists with another {', '.join(differing)}; rename it"
            reasons.append(Reason("metric-differs", message))
    if reasons:
        raise Refused("the plan", reasons)


def find_same(tx: Connection, plan: ExperimentPlan) -> CreatedExperiment:
    """Return the experiment of that name; Refused where it was planned otherwise."""
    known = read_experiment(tx, plan.name)
    wanted = as_it_stands(plan, known.plan, known.status)
    differing = [change.place for change in differences(known.plan, wanted)]
    if differing:
        message = f"an experiment of that name exists with another {', '.join(differing)}"
        raise Refused(f"experiment {plan.name}", [Reason("plan-differs", message)])
    return CreatedExperiment(id=str(known.id), name=plan.name, status=known.status, is_new=False)


def start(tx: Connection, experiment_id: UUID, actor: str | None, reason: str | None) -> None:
    """Make a draft active, with the first split of its traffic; Refused where its end is past."""
    over = tx.scalar(QUERIES["end_that_passed"], {"experiment_id": experiment_id})
    if over is not None:
        raise Refused("the start", [_is_over(over)])
    tx.execute(QUERIES["start_experiment"], {"experiment_id": experiment_id})
    open_first_epoch(tx, experiment_id, actor, reason)


def _is_over(ends_at: datetime) -> Reason:
    message = (
        f"its ends_at, {ends_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC, has passed: it would be "
        "completed before anybody took part; plan a later one in the file, or for a draft with "
        "`headway experiment edit NAME --ends-at TIME`"
    )
    return Reason("invalid-plan", message)


def _described(metric: MetricPlan) -> dict[str, Any]:
    return metric.model_dump(include=set(MetricPlan.model_fields))


def _roles(plan: ExperimentPlan) -> list[dict[str, Any]]:
    primary = {"name": plan.metric.name, "role": "primary", "alpha": plan.alpha}
    others = [
        {"name": metric.name, "role": "secondary", "alpha": plan.alpha}
        for metric in plan.secondary_metrics
    ]
    guards = [
        {
            "name": metric.name,
            "role": "guardrail",
            "alpha": metric.alpha or plan.alpha,
            "margin": metric.margin,
        }
        for metric in plan.guardrails
    ]
    return [primary, *others, *guards]
