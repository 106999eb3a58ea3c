"""What applications ask: which variant does this unit get?"""

from __future__ import annotations

from sqlalchemy import Connection

from tasks.bucketing import bucket
from tasks.database import load_queries
from tasks.errors import NotFound
from tasks.experiments.assignment import salt_of, variant_for

QUERIES = load_queries(__package__)


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
