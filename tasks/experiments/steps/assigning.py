"""Steps that give units their variants."""

from __future__ import annotations

from sqlalchemy import Connection

from tasks.experiments.assignment import batch, overrides
from tasks.experiments.assignment.batch import AssignedUnits
from tasks.experiments.assignment.overrides import OverrideChange
from tasks.experiments.assignment.units import UnitSource
from tasks.ledger import current_run, step


@step(key=lambda experiment, source: f"{experiment}:{source.name}")
def assign_units(tx: Connection, experiment: str, source: UnitSource) -> AssignedUnits:
    """Assign every unit of a file or table that has no arm yet; who has one keeps it."""
    return batch.assign_batch(tx, experiment, source)


@step(key="{experiment}:{unit}")
def override_variant(
    tx: Connection, experiment: str, unit: str, variant: str | None
) -> OverrideChange:
    """Choose the arm of one unit, or let its bucket choose again; it leaves the analysis."""
    if variant is None:
        return overrides.remove_override(tx, experiment, unit)
    run = current_run()
    return overrides.set_override(tx, experiment, unit, variant, run.actor, run.reason)
