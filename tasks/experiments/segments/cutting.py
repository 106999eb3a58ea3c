"""Cut an experiment for one segment out of another one: the same but for whom it is."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from math import ceil, sqrt
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import Connection

from tasks.errors import InputError, Reason, Refused
from tasks.experiments.definition.plan import ExperimentPlan
from tasks.experiments.definition.reading import StoredExperiment, read_experiment
from tasks.experiments.segments.evidence import NONE, OTHER
from tasks.experiments.segments.gathering import QUERIES
from tasks.misfits import problems

_LONGEST_LEVEL = 200  # of a unit's level: the folding cuts it there
_OF_ITS_OWN = {"name", "starts_at", "ends_at", "baseline", "segment_of", "description"}
_RUNNING = ("active", "paused")


class SegmentPlan(BaseModel):
    """The plan of an experiment for one segment, and what to know of it."""

    model_config = ConfigDict(frozen=True)

    plan: ExperimentPlan
    share: float  # of the units of the experiment that it was cut out of
    notes: tuple[str, ...]


def plan_segment(
    connection: Connection,
    parent: str,
    dimension: str,
    level: str,
    *,
    name: str | None = None,
    sample_size: int | None = None,
) -> SegmentPlan:
    """Plan an experiment for the units of one level: same arms, metrics and method.

    Args:
        connection: where to read.
        parent: the experiment to cut it out of.
        dimension: one of its dimensions, which is an attribute of its units.
        level: the value of it.
        name: of the new experiment; by default made of the three.
        sample_size: units to plan for; by default the level's share of the parent's.

    Raises NotFound for an unknown parent, InputError for a name or a size that does not fit, and
    Refused with every reason why there is no such segment.
    """
    stored = read_experiment(connection, parent)
    asked = {"experiment_id": stored.id, "dimension": dimension, "level": level}
    found = connection.execute(QUERIES["segment_level"], asked).one()
    reasons = [*_refusals(connection, stored, asked, found)]
    if reasons:
        raise Refused(f"a segment of experiment {parent}", reasons)
    share = found.level_units / found.units
    size = sample_size or ceil(stored.plan.planned_sample_size * share)
    _check_size(stored, size, None if sample_size else share)
    plan = _cut(stored, asked, found.held, name or f"{parent}, {dimension} {level}", size)
    if plan.bandit is not None:
        plan = _as_it_began(connection, stored, plan)
    return SegmentPlan(plan=plan, share=share, notes=tuple(_notes(stored, plan, share)))


def _refusals(
    connection: Connection, stored: StoredExperiment, asked: dict[str, Any], found: Any
) -> Iterator[Reason]:
    """All that speaks against it."""
    dimension, level, plan = asked["dimension"], asked["level"], stored.plan
    if plan.is_holdout:
        yield Reason("holdout", "a holdout is about everybody: it measures many experiments")
    if dimension not in plan.dimensions:
        known = ", ".join(plan.dimensions) or "none; name `dimensions` in its plan"
        yield Reason("no-dimension", f"{dimension!r} is no dimension of it; it has: {known}")
        return
    if level in (NONE, OTHER):
        message = f"{level} is what is left of {dimension}: no value of it that a rule could name"
        yield Reason("no-level", message)
    elif len(level) >= _LONGEST_LEVEL:
        yield Reason("no-level", f"levels are kept by {_LONGEST_LEVEL} characters: it may be cut")
    elif not found.level_units:
        largest = connection.scalars(QUERIES["largest_levels"], asked).all()
        near = get_close_matches(level, largest, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"units have: {', '.join(largest[:10])}"
        yield Reason("no-units", f"no unit has the {dimension} {level!r}; {hint}")
    elif found.level_units == found.units:
        yield Reason("everybody", f"all of its units have the {dimension} {level!r} already")
    if any(isinstance(value, list | dict) for value in found.held):
        yield Reason("no-level", f"{dimension} holds lists or objects, which no rule can name")


def _check_size(stored: StoredExperiment, size: int, share: float | None) -> None:
    """Raise Refused where no verdict would ever be possible; without share the size was given."""
    arms = sum(arm.weight > 0 for arm in stored.plan.variants)
    least = arms * stored.plan.minimum_sample_size
    if size < least:
        if share is None:
            told, hint = f"the sample is to be {size:,}", f"say --sample-size {least} or more"
        else:
            told = f"{share:.1%} of the units is {size:,} of {stored.plan.planned_sample_size:,}"
            hint = f"say --sample-size {least} or more, and wait longer"
        message = (
            f"{told}, and {arms} arms need {stored.plan.minimum_sample_size:,} each before any "
            f"verdict; {hint}"
        )
        raise Refused(f"a segment of experiment {stored.name}", [Reason("too-small", message)])


def _cut(
    stored: StoredExperiment, asked: dict[str, Any], held: list[Any], name: str, size: int
) -> ExperimentPlan:
    parent, dimension = stored.plan, asked["dimension"]
    # The same text may stand for a number in one unit and for a text in another.
    rule = {"op": "eq", "value": held[0]} if len(held) == 1 else {"op": "in", "value": held}
    document = parent.model_dump(mode="json", exclude=_OF_ITS_OWN) | {
        "name": name,
        "description": f"Cut out of {stored.name}: units whose {dimension} is {asked['level']}.",
        "segment_of": stored.name,
        "target_rules": [*parent.target_rules, {"attribute": dimension, **rule}],
        "dimensions": [each for each in parent.dimensions if each != dimension],
        "planned_sample_size": size,
    }
    try:
        return ExperimentPlan.model_validate(document)
    except ValidationError as error:
        told = problems(error, ExperimentPlan)
        raise InputError(f"the segment is no plan of an experiment: {told}") from None


def _as_it_began(
    connection: Connection, stored: StoredExperiment, plan: ExperimentPlan
) -> ExperimentPlan:
    """The segment of a bandit knows nothing yet: it begins with the split that the bandit had."""
    rows = connection.execute(QUERIES["first_split"], {"experiment_id": stored.id})
    began = {row.name: row.weight for row in rows}
    arms = (
        arm.model_copy(update={"weight": began.get(arm.name, arm.weight)}) for arm in plan.variants
    )
    return plan.model_copy(update={"variants": tuple(arms)})


def _notes(stored: StoredExperiment, plan: ExperimentPlan, share: float) -> Iterator[str]:
    whole, part = stored.plan.planned_sample_size, plan.planned_sample_size
    yield (
        f"{share:.1%} of the units of {stored.name} are in it; planned are {part:,} units of its "
        f"{whole:,}, which find effects {sqrt(whole / part):.2f} times as large"
    )
    if stored.status in _RUNNING:
        yield (
            f"{stored.name} is still {stored.status}: complete it before you start this one, or "
            "the same units are in both"
        )
