"""Bandits for tests: five arms with true rates, and units that come and convert as in life."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import numpy as np
from pydantic_core import to_json
from sqlalchemy import text

from tasks import clock
from tasks.database import control_engine
from tests.database.experiments import metric, start

RATES = {"control": 0.10, "a": 0.10, "b": 0.30, "c": 0.10, "d": 0.05}
POLICY = {"warm_up_units": 20, "floor": 0.02}

_COME = text(
    "SELECT unit, assign_variant(:experiment, unit) AS arm "
    "FROM unnest(CAST(:units AS text[])) unit ORDER BY unit"
)
_CONVERT = text(
    "SELECT track_event(:experiment, unit, 'buy', 1, 'e-' || unit) "
    "FROM unnest(CAST(:units AS text[])) unit"
)


def start_bandit(
    name: str = "greeting",
    rates: Mapping[str, float] = RATES,
    policy: Mapping[str, Any] = POLICY,
    **changes: Any,
) -> str:
    """Start a bandit whose arms share the traffic equally; returns its id."""
    variants = [
        {"name": arm, "weight": 1 / len(rates), "is_control": arm == "control"} for arm in rates
    ]
    fields = {
        "name": name,
        "variants": variants,
        "metric": metric(name="bought", kind="proportion", aggregation="any", missing="zero"),
        "planned_sample_size": 100_000,
        "is_stopped_at_winner": False,
    }
    made = start(**(fields | changes))
    set_policy(name, policy)
    return made


def set_policy(name: str, policy: Mapping[str, Any] | None) -> None:
    """How the split may follow the figures; None: a fixed design."""
    with control_engine().begin() as tx:
        tx.execute(
            text(
                "UPDATE experiment_plan SET bandit = CAST(:policy AS jsonb) WHERE experiment_id = "
                "(SELECT id FROM ab_experiments WHERE experiment_name = :name)"
            ),
            {"policy": None if policy is None else to_json(policy).decode(), "name": name},
        )


def visit(
    random: np.random.Generator,
    units: int,
    experiment: str = "greeting",
    rates: Mapping[str, float] = RATES,
    prefix: str = "u",
) -> dict[str, int]:
    """So many new units come and get their arm; some convert. Returns how many came to each arm."""
    names = [f"{prefix}{number}" for number in range(units)]
    with control_engine().begin() as tx:
        came = tx.execute(_COME, {"experiment": experiment, "units": names}).all()
        converted = [row.unit for row in came if random.random() < rates[row.arm]]
        tx.execute(_CONVERT, {"experiment": experiment, "units": converted})
    return {arm: sum(row.arm == arm for row in came) for arm in rates}


def later(**by: float) -> None:
    """Let time pass."""
    with control_engine().begin() as tx:
        clock.shift(tx, timedelta(**by))
