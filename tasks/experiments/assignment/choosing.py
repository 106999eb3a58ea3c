"""Which variant a unit gets, and why: a pure function of the unit, its attributes and the split.

The SQL function ``assign_variant`` and the batch assignment follow the same order:

1. an override answers, whatever else holds;
2. who has an arm keeps it;
3. only an active experiment lets new units in;
4. the share of the traffic that takes part at all is drawn by a bucket of its own;
5. the target rules must hold;
6. an experiment in a layer lets in the units of its own part of the layer, and no others;
7. the holdouts are asked, by name: a unit that one of them holds out takes part in nothing;
8. the arm is the one whose range the unit's bucket falls into.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tasks.bucketing import bucket
from tasks.errors import InputError
from tasks.experiments.assignment.ranges import Range, variant_at
from tasks.experiments.assignment.targeting import TargetRule, matches

MAX_UNIT_LENGTH = 255

Why = Literal[
    "override",
    "assigned",
    "not-active",
    "outside-traffic",
    "not-targeted",
    "outside-layer",
    "held-out",
    "allocated",
]


class LayerPart(BaseModel):
    """The buckets of a layer, from ``lower`` up to ``upper``, that are one experiment's."""

    model_config = ConfigDict(frozen=True)

    layer: str
    lower: float
    upper: float


class Enrolment(BaseModel):
    """What decides about one unit, apart from its attributes."""

    model_config = ConfigDict(frozen=True)

    experiment: str
    is_active: bool
    traffic_fraction: Annotated[float, Field(ge=0, le=1)] = 1.0
    target_rules: tuple[TargetRule, ...] = ()
    part: LayerPart | None = None
    holdouts: tuple[Holdout, ...] = ()
    ranges: tuple[Range, ...] = ()
    override: str | None = None
    assigned: str | None = None


class Holdout(Enrolment):
    """A holdout that is asked first: who gets its arm ``held_out`` takes part in nothing else."""

    held_out: str


class Choice(BaseModel):
    """The variant of a unit, or none, with the condition that decided and the unit's bucket."""

    model_config = ConfigDict(frozen=True)

    variant: str | None
    why: Why
    bucket: float
    by: str | None = None  # the layer or the holdout that kept the unit out


def salt_of(experiment: str) -> str:
    """Salt of an experiment: another experiment, or a rollout, shuffles the units anew."""
    return f"experiment:{experiment}"


def traffic_salt_of(experiment: str) -> str:
    """Salt of the draw who takes part at all: independent of who gets which arm."""
    return f"traffic:{experiment}"


def layer_salt_of(layer: str) -> str:
    """Salt of a layer: who is in which part of it; each layer shuffles the units anew."""
    return f"layer:{layer}"


def choose(unit: str, enrolment: Enrolment, attributes: Mapping[str, Any]) -> Choice:
    """Say which variant the unit gets; it writes nothing.

    Raises InputError for a unit that cannot be one, and for attributes that are no JSON.
    """
    name = enrolment.experiment
    place = bucket(salt_of(name), checked_unit(unit))
    if enrolment.override is not None:
        return Choice(variant=enrolment.override, why="override", bucket=place)
    if enrolment.assigned is not None:
        return Choice(variant=enrolment.assigned, why="assigned", bucket=place)
    if not enrolment.is_active:
        return Choice(variant=None, why="not-active", bucket=place)
    if bucket(traffic_salt_of(name), unit) >= enrolment.traffic_fraction:
        return Choice(variant=None, why="outside-traffic", bucket=place)
    if not matches(enrolment.target_rules, attributes):
        return Choice(variant=None, why="not-targeted", bucket=place)
    if enrolment.part is not None and not is_inside(unit, enrolment.part):
        return Choice(variant=None, why="outside-layer", bucket=place, by=enrolment.part.layer)
    for holdout in enrolment.holdouts:
        if choose(unit, holdout, attributes).variant == holdout.held_out:
            return Choice(variant=None, why="held-out", bucket=place, by=holdout.experiment)
    return Choice(variant=variant_at(enrolment.ranges, place), why="allocated", bucket=place)


def is_inside(unit: str, part: LayerPart) -> bool:
    """Tell whether the unit is in this part of the layer."""
    return part.lower <= bucket(layer_salt_of(part.layer), unit) < part.upper


def checked_unit(unit: str) -> str:
    """Return the unit; InputError unless it is text of 1 to 255 characters."""
    if isinstance(unit, str) and not 1 <= len(unit) <= MAX_UNIT_LENGTH:
        raise InputError(f"a unit is text of 1 to {MAX_UNIT_LENGTH} characters, not of {len(unit)}")
    return unit
