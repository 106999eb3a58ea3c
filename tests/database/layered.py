"""Experiments that share their users: in layers, under holdouts, or side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

from tasks.experiments.assignment.batch import assign_batch
from tasks.experiments.assignment.units import UnitSource
from tests.database.experiments import fold_now, start

UNITS = 1600
MAKE = text(
    """
    WITH made AS (
        INSERT INTO ab_experiments (experiment_name, status, started_at)
        VALUES (:name, CAST(:status AS experiment_status), headway.clock_now())
        RETURNING id
    ), planned AS (
        INSERT INTO experiment_plan
            (experiment_id, traffic_fraction, target_rules, is_holdout, organization)
        SELECT id, :fraction, :rules, :is_holdout, :organization FROM made
    ), arms AS (
        INSERT INTO ab_variants (experiment_id, variant_name, traffic_weight, is_control)
        SELECT made.id, w.key, CAST(w.value AS double precision), w.key = :control
        FROM made, json_each_text(CAST(:weights AS json)) w
    )
    SELECT id FROM made
    """
)

TRACK = text(
    "INSERT INTO ab_metrics (experiment_id, variant_id, assignment_id, event_type, event_value, "
    "event_timestamp, event_id) "
    "SELECT a.experiment_id, a.variant_id, a.id, :event, CAST(v.value AS double precision), "
    "a.assigned_at + interval '1 second', a.id::text FROM json_each_text(:values) v "
    "JOIN ab_assignments a ON a.user_id = v.key AND a.experiment_id = CAST(:id AS uuid)"
)


def make(
    tx: Connection,
    name: str,
    weights: Mapping[str, float] | None = None,
    *,
    part: tuple[str, float, float] | None = None,
    status: str = "active",
    rules: Sequence[Mapping[str, Any]] = (),
    fraction: float = 1.0,
    is_holdout: bool = False,
    organization: str | None = None,
) -> str:
    """An experiment; its first arm is the control. ``part`` is layer, lower and upper bound."""
    shares = dict(weights or {"control": 0.5, "red": 0.5})
    made = {
        "name": name,
        "status": status,
        "fraction": fraction,
        "rules": json.dumps(list(rules)),
        "is_holdout": is_holdout,
        "organization": organization,
        "control": next(iter(shares)),
        "weights": json.dumps(shares),
    }
    experiment_id = str(tx.scalar(MAKE, made))
    if part is not None:
        slot = dict(zip(("layer", "lower", "upper"), part, strict=True))
        tx.execute(text("INSERT INTO layer (name) VALUES (:layer) ON CONFLICT DO NOTHING"), slot)
        insert = "INSERT INTO layer_slot VALUES (CAST(:id AS uuid), :layer, :lower, :upper)"
        tx.execute(text(insert), slot | {"id": experiment_id})
    return experiment_id


def make_holdout(tx: Connection, name: str, share: float, **given: Any) -> str:
    """A holdout that keeps this share of the units out of everything."""
    weights = {"held-out": share, "exposed": 1 - share}
    return make(tx, name, weights, is_holdout=True, **given)


def begin(tx: Connection, name: str, *, units: int = UNITS, **changes: Any) -> str:
    """A running experiment with so many units."""
    experiment_id = start(name=name, **changes)
    tx.execute(
        text(
            "CREATE TABLE IF NOT EXISTS everybody AS "
            "SELECT 'u' || n AS user_id, n FROM generate_series(1, 2000) n"
        )
    )
    tx.execute(
        text(f"CREATE TEMPORARY VIEW some_{name} AS SELECT * FROM everybody WHERE n <= {units}")
    )
    tx.commit()
    assign_batch(tx, name, UnitSource(table=f"some_{name}"))
    tx.commit()
    return experiment_id


def record(tx: Connection, experiment_id: str, values: dict[str, float], event: str) -> None:
    """Give units their value, and fold."""
    tx.execute(TRACK, {"id": experiment_id, "values": json.dumps(values), "event": event})
    tx.commit()
    fold_now(experiment_id)
