"""The variant of one unit: given on the first ask, kept from then on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row

from tasks import jsonb
from tasks.bucketing import bucket
from tasks.database import load_queries
from tasks.errors import NotFound
from tasks.experiments.assignment.choosing import (
    Choice,
    Enrolment,
    checked_unit,
    choose,
    salt_of,
)
from tasks.experiments.assignment.ranges import first_ranges

QUERIES = load_queries(__package__)


def get_variant(
    tx: Connection,
    experiment: str,
    unit: str,
    *,
    session: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> str | None:
    """Return the unit's variant, assigned on the first ask and kept from then on.

    None where the unit is not let in: the experiment is not active, the unit is not targeted, or
    outside the share of the traffic that takes part. Then nothing is written.

    Args:
        tx: the transaction that the assignment belongs to.
        experiment: its name.
        unit: whatever is assigned, as text of 1 to 255 characters.
        session: the session of the first ask; stored.
        attributes: JSON values that the target rules are judged by; not stored.
        metadata: JSON values that are stored with the assignment; reports break down by them.

    Raises NotFound for an unknown experiment, InputError for a unit that cannot be one.
    """
    bucket(salt_of(experiment), checked_unit(unit))  # refuses what Postgres cannot hold
    row = tx.execute(
        QUERIES["assign_variant"],
        {
            "experiment": experiment,
            "unit": unit,
            "session": session,
            "attributes": jsonb.dump(attributes or {}),
            "metadata": jsonb.dump(metadata or {}),
        },
    ).first()
    if row is None:
        raise NotFound(f"no experiment is called {experiment!r}")
    return None if row.variant is None else str(row.variant)


def explain_variant(
    connection: Connection,
    experiment: str,
    unit: str,
    attributes: Mapping[str, Any] | None = None,
) -> Choice:
    """Say which variant ``get_variant`` would return, and why; assigns nothing.

    Raises NotFound for an unknown experiment, InputError for a unit that cannot be one.
    """
    bucket(salt_of(experiment), checked_unit(unit))
    asked = {"experiment": experiment, "unit": unit}
    rows = connection.execute(QUERIES["find_enrolment"], asked).all()
    if not rows:
        raise NotFound(f"no experiment is called {experiment!r}")
    own, *holdouts = ({**row._asdict(), "ranges": _ranges(row)} for row in rows)
    own["holdouts"] = [each for each in holdouts if each["held_out"] is not None]
    return choose(unit, Enrolment.model_validate(own), attributes or {})


def _ranges(row: Row[Any]) -> Sequence[Any]:
    # Who made an experiment active by hand opened no allocation; the first request will.
    return row.ranges or first_ranges(list((row.weights or {}).items()))
