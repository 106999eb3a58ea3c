"""Which variant a unit gets: fixed by its bucket and the weights, the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add

from sqlalchemy import Connection

from tasks.bucketing import bucket
from tasks.database import load_queries
from tasks.errors import InputError, NotFound

QUERIES = load_queries(__package__)


def salt_of(experiment: str) -> str:
    """Salt of an experiment: another experiment, or a rollout, shuffles the units anew."""
    return f"experiment:{experiment}"


def variant_for(unit: str, salt: str, weights: Sequence[tuple[str, float]]) -> str:
    """Return the variant whose share of [0, 1) the unit's bucket falls into.

    Args:
        unit: whatever is assigned, as text.
        salt: see salt_of.
        weights: variants with their weights (any positive scale), in a fixed order.

    Raises InputError where no weight is positive.
    """
    # Added one by one, as SQL does: Python's sum() rounds otherwise since 3.12.
    total = reduce(add, (weight for _, weight in weights), 0.0)
    if total <= 0 or any(weight < 0 for _, weight in weights):
        raise InputError("a unit can only be assigned where weights are positive")
    place = bucket(salt, unit) * total
    reached = 0.0
    for name, weight in weights:
        reached += weight
        if place < reached:
            return name
    # Rounding may leave the sum a hair below the total: the last arm with traffic takes the rest.
    return [name for name, weight in weights if weight > 0][-1]


def get_variant(tx: Connection, experiment: str, unit: str) -> str | None:
    """Return the unit's variant, assigned on the first ask and kept from then on.

    None where the unit has none and the experiment is not active: nobody new is let in.
    Raises NotFound for an unknown experiment.
    """
    asked = {"experiment": experiment, "unit": unit}
    found = tx.execute(QUERIES["find_assignment"], asked).first()
    if found is None:
        raise NotFound(f"no experiment is called {experiment!r}")
    if found.variant is not None or not found.is_active:
        return None if found.variant is None else str(found.variant)
    salt = salt_of(experiment)
    arms = tx.execute(QUERIES["variant_weights"], {"experiment_id": found.experiment_id}).all()
    chosen = variant_for(unit, salt, [(arm.name, arm.weight) for arm in arms])
    tx.execute(
        QUERIES["assign_unit"],
        {
            "experiment_id": found.experiment_id,
            "variant_id": next(arm.id for arm in arms if arm.name == chosen),
            "unit": unit,
            "bucket": bucket(salt, unit),
        },
    )
    # Somebody else may have been faster, with a file that says otherwise.
    return str(tx.execute(QUERIES["find_assignment"], asked).one().variant)
