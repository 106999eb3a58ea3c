"""Worlds of units and events for the folding, and the same figures by numpy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import Connection, text

from tasks.experiments.folding.reading import moments_of
from tasks.experiments.folding.recomputing import recompute

START = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
USUAL = {"kind": "mean", "event_type": "buy", "aggregation": "sum", "missing": "exclude"}


@dataclass
class World:
    """One experiment with two arms, and what happened in it."""

    tx: Connection
    name: str = "buttons"
    dimensions: Sequence[str] = ()
    id: str = ""
    arms: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.id = str(
            self.tx.scalar(
                text(
                    "INSERT INTO ab_experiments (experiment_name, status, started_at) "
                    "VALUES (:name, 'active', :start) RETURNING id"
                ),
                {"name": self.name, "start": START},
            )
        )
        self.say(
            "INSERT INTO experiment_plan (experiment_id, dimensions) VALUES (:id, :dimensions)",
            dimensions=list(self.dimensions),
        )
        self.say("INSERT INTO allocation (experiment_id, epoch, started_at) VALUES (:id, 1, :at)")
        for arm in ("control", "red"):
            self.arms[arm] = str(
                self.say(
                    "INSERT INTO ab_variants (experiment_id, variant_name, is_control) "
                    "VALUES (:id, :arm, :arm = 'control') RETURNING id",
                    arm=arm,
                )
            )

    def say(self, sql: str, **values: Any) -> Any:
        result = self.tx.execute(text(sql), {"id": self.id, "at": START, **values})
        return result.scalar() if result.returns_rows else None

    def metric(self, name: str = "spend", **changes: Any) -> str:
        """Define a metric and give it to the experiment; the first one is the primary."""
        columns = {"name": name, **USUAL, **changes}
        listed, bound = ", ".join(columns), ", ".join(f":{column}" for column in columns)
        made = self.say(f"INSERT INTO metric ({listed}) VALUES ({bound}) RETURNING id", **columns)
        role = "secondary" if self.metrics else "primary"
        self.say(
            "INSERT INTO experiment_metric (experiment_id, metric_id, role, planned_sample_size) "
            "VALUES (:id, :metric, CAST(:role AS metric_role), 1000)",
            metric=made,
            role=role,
        )
        self.metrics[name] = str(made)
        return str(made)

    def unit(self, user: str, arm: str = "control", hours: float = 0, **row: Any) -> str:
        """Assign a unit so many hours after the start."""
        made = self.say(
            "INSERT INTO ab_assignments (experiment_id, variant_id, user_id, assigned_at, "
            "bucket_value, metadata, epoch, is_override) "
            "VALUES (:id, :arm, :user, :when, 0, :metadata, :epoch, :is_override) RETURNING id",
            arm=self.arms[arm],
            user=user,
            when=START + timedelta(hours=hours),
            metadata=json.dumps(row.get("metadata", {})),
            epoch=row.get("epoch", 1),
            is_override=row.get("is_override", False),
        )
        self.units[user] = str(made)
        self.touch(user)
        return str(made)

    def event(
        self, user: str, value: float | None = 1.0, hours: float = 1, event_type: str = "buy"
    ) -> str:
        """Something that a unit did, so many hours after the start."""
        made = self.say(
            "INSERT INTO ab_metrics (experiment_id, variant_id, assignment_id, event_type, "
            "event_value, event_timestamp, event_id) "
            "SELECT :id, variant_id, id, :event_type, :value, :when, gen_random_uuid()::text "
            "FROM ab_assignments WHERE id = :unit RETURNING id",
            unit=self.units[user],
            event_type=event_type,
            value=value,
            when=START + timedelta(hours=hours),
        )
        self.touch(user)
        return str(made)

    def correct(self, user: str, event: str, value: float) -> None:
        """An event that said something else."""
        self.say(
            "UPDATE ab_metrics SET event_value = :value WHERE id = :event", value=value, event=event
        )
        self.touch(user)

    def touch(self, *users: str) -> None:
        """Log units as writers do: one alone, several in one row."""
        units = [self.units[user] for user in users]
        if len(units) == 1:
            self.say(
                "INSERT INTO touched_unit (experiment_id, assignment_id) VALUES (:id, :unit)",
                unit=units[0],
            )
        else:
            self.say(
                "INSERT INTO touched_unit (experiment_id, assignment_ids) "
                "VALUES (:id, CAST(:units AS uuid[]))",
                units=units,
            )

    def clock(self, hours: float) -> None:
        """Set the time to so many hours after the start."""
        self.say(
            "UPDATE headway.clock SET clock_offset = CAST(:then AS timestamptz) - now()",
            then=START + timedelta(hours=hours),
        )

    def moments(self, metric: str = "spend") -> dict[tuple[str, str, str], dict[str, float]]:
        """What was folded, by arm, dimension and level."""
        rows = moments_of(self.tx, [self.id])
        kept = [row for row in rows if row.metric_id == self.metrics[metric]]
        names = (
            "assigned",
            "events",
            "converted",
            "n",
            "mean",
            "m2",
            "denominator_mean",
            "denominator_m2",
            "denominator_c2",
            "covariate_mean",
            "covariate_m2",
            "covariate_c2",
        )
        return {
            (row.variant, row.dimension, row.level): {name: getattr(row, name) for name in names}
            for row in kept
        }

    def values(self, metric: str = "spend") -> dict[str, dict[str, Any]]:
        """The value of each unit, by its name."""
        rows = self.tx.execute(
            text(
                "SELECT a.user_id, v.* FROM unit_value v JOIN ab_assignments a "
                "ON a.id = v.assignment_id WHERE v.metric_id = :metric"
            ),
            {"metric": self.metrics[metric]},
        )
        return {row.user_id: row._asdict() for row in rows}


def moments_by_numpy(
    values: Sequence[float], denominators: Sequence[float] = (), covariates: Sequence[float] = ()
) -> dict[str, float]:
    """The same statistics of one arm, in two passes."""
    x = np.asarray(values, dtype=np.longdouble)
    made = {"n": len(x), "mean": float(x.mean()), "m2": float(((x - x.mean()) ** 2).sum())}
    for name, others in (("denominator", denominators), ("covariate", covariates)):
        if len(others):
            y = np.asarray(others, dtype=np.longdouble)
            made[f"{name}_mean"] = float(y.mean())
            made[f"{name}_m2"] = float(((y - y.mean()) ** 2).sum())
            made[f"{name}_c2"] = float(((y - y.mean()) * (x - x.mean())).sum())
    return made


def is_right(world: World) -> bool:
    """The folded statistics are those that a full recompute finds."""
    return recompute(world.tx, [world.id]) == []
