"""Assign units to the variants of an experiment: many at once, or one by a person's choice."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flows.artifacts import publish_report
from flows.pipeline import Text, pipeline
from tasks import markdown
from tasks.experiments import steps
from tasks.experiments.assignment.batch import AssignedUnits
from tasks.experiments.assignment.choosing import MAX_UNIT_LENGTH
from tasks.experiments.assignment.overrides import OverrideChange
from tasks.experiments.assignment.units import UnitSource

Unit = Annotated[str, Field(min_length=1, max_length=MAX_UNIT_LENGTH)]
"""A unit's id, blanks and all: ' u1' is another unit than 'u1'."""


@pipeline(name="assign-units", run_name="assign-units/{experiment}")
def assign_units(experiment: Text, source: UnitSource) -> AssignedUnits:
    """Give every unit of a file or table its variant, as the first request would.

    Units that have one keep it; the same units a second time change nothing. Rows that name no
    unit are listed with their line and the reason.

    Args:
        experiment: name of an active experiment.
        source: path of a CSV file with a column user_id (and session_id, attributes, metadata),
            or name of a table or view with the same columns.
    """
    assigned = steps.assign_units(experiment=experiment, source=source)
    publish_report("assign-units", assigned.as_markdown())
    return assigned


@pipeline(name="override-variant", run_name="override-variant/{experiment}/{unit}")
def override_variant(
    experiment: Text, unit: Unit, actor: Text, reason: Text, variant: str | None = None
) -> OverrideChange:
    """Show one unit a variant of a person's choice, whatever its bucket and the targets say.

    The unit counts in no analysis from then on.

    Args:
        experiment: name of the experiment, in any state.
        unit: the user's id.
        actor: who chooses.
        reason: why.
        variant: name of the variant; without it the override is removed.
    """
    del actor, reason  # kept with the run
    changed = steps.override_variant(experiment=experiment, unit=unit, variant=variant)
    publish_report(f"override-{experiment}", markdown.plain(changed.summary))
    return changed
