"""Which variant a unit gets: fixed by its bucket and the weights, the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.bucketing import bucket
from tasks.errors import InputError


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
    total = sum(weight for _, weight in weights)
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
