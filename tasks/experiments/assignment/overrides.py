"""Units whose arm a person chose: they see that arm, and count in no analysis."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, Row

from tasks.bucketing import bucket
from tasks.database import load_queries
from tasks.errors import NotFound
from tasks.experiments.assignment.choosing import checked_unit, salt_of

QUERIES = load_queries(__package__)


class OverrideChange(BaseModel):
    """What became of one unit's override; ``variant`` is None where it was removed."""

    model_config = ConfigDict(frozen=True)

    experiment: str
    unit: str
    variant: str | None
    is_changed: bool

    @property
    def summary(self) -> str:
        """One line."""
        about = f"{self.unit} in {self.experiment}"
        if self.variant is None:
            return f"{about}: {'override removed' if self.is_changed else 'has no override'}"
        return f"{about}: {'gets' if self.is_changed else 'gets already'} {self.variant}"


def set_override(
    tx: Connection, experiment: str, unit: str, variant: str, actor: str | None, reason: str | None
) -> OverrideChange:
    """Give the unit this arm, whatever bucket, targets and state of the experiment say.

    A unit that had an arm keeps it in its row, and leaves the analysis: it may have seen two.
    Raises NotFound for an unknown experiment or variant, InputError for a unit that is none.
    """
    bucket(salt_of(experiment), checked_unit(unit))  # refuses what Postgres cannot hold
    found = _lock(tx, experiment, variant)
    if found.variant_id is None:
        known = ", ".join(found.known or ["none"])
        raise NotFound(f"experiment {experiment!r} has no variant {variant!r}; it has {known}")
    changed = tx.execute(
        QUERIES["set_override"],
        {
            "experiment_id": found.experiment_id,
            "unit": unit,
            "variant_id": found.variant_id,
            "actor": actor,
            "reason": reason,
        },
    ).first()
    tx.execute(QUERIES["flag_overridden"], {"experiment_id": found.experiment_id})
    return OverrideChange(
        experiment=experiment, unit=unit, variant=variant, is_changed=changed is not None
    )


def remove_override(tx: Connection, experiment: str, unit: str) -> OverrideChange:
    """Let the unit's bucket choose again; one that had an arm in the meantime keeps that.

    It stays out of the analysis. Raises NotFound for an unknown experiment.
    """
    bucket(salt_of(experiment), checked_unit(unit))
    found = _lock(tx, experiment, None)
    asked = {"experiment_id": found.experiment_id, "unit": unit}
    removed = tx.execute(QUERIES["remove_override"], asked).first()
    return OverrideChange(
        experiment=experiment, unit=unit, variant=None, is_changed=removed is not None
    )


def _lock(tx: Connection, experiment: str, variant: str | None) -> Row[tuple[object, ...]]:
    asked = {"experiment": experiment, "variant": variant}
    found = tx.execute(QUERIES["lock_for_override"], asked).first()
    if found is None:
        raise NotFound(f"no experiment is called {experiment!r}")
    return found
