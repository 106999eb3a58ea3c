"""Experiments in layers and under holdouts, written straight into the tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

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
