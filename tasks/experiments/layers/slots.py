"""Give an experiment its part of a layer, and take it back.

The parts of a layer never overlap: they are given under a lock of the layer's row. What has ended
holds nothing, whoever ended it; its row is kept, so that one can see where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import Reason, Refused

QUERIES = load_queries(__package__, "slots.sql")
PLACES = 9
"""Decimal places of bounds and shares: so that what is left of a layer is what people expect."""


class Slot(NamedTuple):
    """From the lower bound up to the upper one, which does not belong to it."""

    lower: float
    upper: float

    @property
    def share(self) -> float:
        """How much of the layer it is."""
        return round(self.upper - self.lower, PLACES)


class HeldSlot(NamedTuple):
    """A slot and the experiment that holds it."""

    experiment: str
    status: str
    slot: Slot


def take_slot(
    tx: Connection, experiment_id: UUID, layer: str, share: float, actor: str | None = None
) -> Slot:
    """Give the experiment the first free part of the layer that is large enough.

    A layer that nobody named before is created. The slot that the experiment holds already is
    kept where it is of this layer and size, else given back first.

    Args:
        tx: the transaction; others who want a part of the layer wait for it.
        experiment_id: the experiment.
        layer: its name.
        share: how much of the layer, above 0 up to 1.
        actor: who creates the layer, if it is new.

    Raises Refused (`layer-full`) with who holds what.
    """
    tx.execute(QUERIES["ensure_layer"], {"layer": layer, "actor": actor})
    tx.execute(QUERIES["lock_layer"], {"layer": layer})
    key = {"experiment_id": experiment_id}
    own = tx.execute(QUERIES["own_slot"], key).first()
    if own is not None:
        held = Slot(own.lower_bound, own.upper_bound)
        if own.layer == layer and held.share == round(share, PLACES):
            return held
        free_slot(tx, experiment_id)
    taken = held_slots(tx, layer)
    found = first_gap([each.slot for each in taken], share)
    if found is None:
        raise Refused(f"a part of layer {layer}", [_full(layer, share, taken)])
    bounds = {"layer": layer, "lower": found.lower, "upper": found.upper}
    tx.execute(QUERIES["insert_slot"], key | bounds)
    return found


def free_slot(tx: Connection, experiment_id: UUID) -> None:
    """Give back the part of a layer that a draft holds, if any."""
    tx.execute(QUERIES["free_slot"], {"experiment_id": experiment_id})


def held_slots(tx: Connection, layer: str) -> list[HeldSlot]:
    """Who holds which part of a layer, from 0 to 1; what has ended holds none."""
    rows = tx.execute(QUERIES["held_slots"], {"layer": layer})
    return [
        HeldSlot(row.experiment, row.status, Slot(row.lower_bound, row.upper_bound)) for row in rows
    ]


def gaps(taken: Sequence[Slot]) -> list[Slot]:
    """What is free, from 0 to 1."""
    bounds = [0.0, *(bound for slot in sorted(taken) for bound in slot), 1.0]
    free = [Slot(*pair) for pair in zip(bounds[::2], bounds[1::2], strict=True)]
    return [slot for slot in free if slot.share > 0]


def first_gap(taken: Sequence[Slot], share: float) -> Slot | None:
    """The first free part of that size; None where there is none."""
    for free in gaps(taken):
        if free.share >= round(share, PLACES):
            return Slot(free.lower, round(free.lower + share, PLACES))
    return None


def _full(layer: str, share: float, taken: Sequence[HeldSlot]) -> Reason:
    free = gaps([each.slot for each in taken])
    largest = max((slot.share for slot in free), default=0.0)
    holders = ", ".join(
        f"{each.experiment} ({each.status}) holds {each.slot.lower:g} to {each.slot.upper:g}"
        for each in taken
    )
    advice = f"ask for at most {largest:g}, or " if largest else ""
    message = (
        f"layer {layer!r} has no free part of {share:g}: {holders}; {advice}complete one of them"
    )
    return Reason("layer-full", message)
