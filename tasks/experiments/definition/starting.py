"""Put a planned experiment into its tables, or find that it is there already."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import Reason, Refused
from tasks.experiments.definition.plan import ExperimentPlan, MetricPlan

QUERIES = load_queries(__package__)


class StartedExperiment(BaseModel):
    """An experiment that is active now; ``is_new`` is False where it had been started before."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    is_new: bool

    @property
    def summary(self) -> str:
        """One line."""
        return (
            f"{self.name}: {'started' if self.is_new else 'nothing to do; it was started before'}"
        )


def ensure_metric(tx: Connection, metric: MetricPlan) -> None:
    """Create the metric unless it exists; Refused where the name means something else."""
    tx.execute(QUERIES["insert_metric"], metric.model_dump())
    known = tx.execute(QUERIES["find_metric"], {"name": metric.name}).one()
    wanted = metric.model_dump(exclude={"description"})
    differing = [name for name, value in wanted.items() if getattr(known, name) != value]
    if differing:
        message = f"metric {metric.name!r} exists with another {', '.join(differing)}; rename it"
        raise Refused(f"metric {metric.name}", [Reason("metric-differs", message)])


def add_arms(tx: Connection, plan: ExperimentPlan, experiment_id: UUID) -> None:
    """Write the arms of a new experiment, and the metric that decides it."""
    for variant in plan.variants:
        tx.execute(
            QUERIES["insert_variant"], variant.model_dump() | {"experiment_id": experiment_id}
        )
    tx.execute(
        QUERIES["insert_experiment_metric"],
        plan.model_dump(include={"planned_sample_size", "alpha", "is_stopped_at_winner"})
        | {"experiment_id": experiment_id, "metric": plan.metric.name},
    )


def find_same(tx: Connection, plan: ExperimentPlan) -> StartedExperiment:
    """Return the experiment of that name; Refused where it was planned otherwise."""
    known = tx.execute(QUERIES["find_plan"], {"name": plan.name}).one()
    wanted: dict[str, Any] = plan.model_dump(
        include={"minimum_sample_size", "planned_sample_size", "alpha", "is_stopped_at_winner"}
    )
    wanted |= {
        "metric": plan.metric.name,
        "variants": sorted([v.name, v.weight, v.is_control] for v in plan.variants),
    }
    found = known._asdict() | {"variants": sorted(known.variants or [])}
    differing = [name for name, value in wanted.items() if found[name] != value]
    if differing:
        message = f"an experiment of that name exists with another {', '.join(differing)}"
        raise Refused(f"experiment {plan.name}", [Reason("plan-differs", message)])
    return StartedExperiment(id=known.id, name=plan.name, is_new=False)
