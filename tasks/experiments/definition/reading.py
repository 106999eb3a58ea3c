"""Read an experiment back from its tables, as the plan that would make it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import Connection, Row

from tasks.database import load_queries
from tasks.errors import NotFound, Reason, Refused
from tasks.experiments.definition.plan import ExperimentPlan
from tasks.misfits import problems

QUERIES = load_queries(__package__)
_OF_PRIMARY = ("planned_sample_size", "alpha", "is_stopped_at_winner")


class StoredExperiment(BaseModel):
    """An experiment as its tables hold it; ``plan`` has the newest split of the traffic."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    name: str
    status: str
    version: int
    created_by: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    winner: str | None
    plan: ExperimentPlan


def read_experiment(tx: Connection, name: str) -> StoredExperiment:
    """Read an experiment; NotFound, or Refused where its tables hold no complete plan."""
    row = tx.execute(QUERIES["find_experiment"], {"name": name}).first()
    if row is None:
        raise NotFound(f"no experiment is called {name!r}")
    try:
        return StoredExperiment(**row._asdict(), plan=ExperimentPlan(**_described(row)))
    except ValidationError as error:
        message = f"its tables hold no complete plan: {problems(error)}"
        raise Refused(f"experiment {name}", [Reason("no-plan", message)]) from None


def _described(row: Row[Any]) -> dict[str, Any]:
    used: dict[str, list[dict[str, Any]]] = {"primary": [], "secondary": [], "guardrail": []}
    for each in row.metrics or []:
        used[each["role"]].append(each)
    primary = used["primary"][0] if used["primary"] else {}
    return {
        **(row.described or {}),
        **{field: primary.get(field) for field in _OF_PRIMARY},
        "variants": row.variants or (),
        "metric": primary.get("metric"),
        "secondary_metrics": [each["metric"] for each in used["secondary"]],
        "guardrails": [
            each["metric"] | {"margin": each["margin"], "alpha": each["alpha"]}
            for each in used["guardrail"]
        ],
    }
