"""Shares of the traffic: what keeps every arm alive, and a split from jumping."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.experiments.assignment.ranges import SLOTS

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def floored(shares: Floats, floor: float) -> Floats:
    """Give every arm at least ``floor``: floor + (1 - k floor) share, of k arms.

    All arms alike where so much is not there for each.
    """
    least = min(floor, 1 / len(shares))
    return least + (1 - len(shares) * least) * shares


def capped(shares: Floats, is_capped: Bools) -> Floats:
    """Give those arms at most an equal share; the others take what is over, as theirs are."""
    equal = np.full(len(shares), 1 / len(shares))
    if is_capped.all():
        return equal
    kept = np.where(is_capped, np.minimum(shares, equal), 0.0)
    others = np.where(is_capped, 0.0, shares)
    if not others.sum() > 0:
        others = np.where(is_capped, 0.0, 1.0)
    return np.asarray(kept + (1 - kept.sum()) * others / others.sum())


def stepped(held: Floats, wanted: Floats, maximum_step: float) -> Floats:
    """Go from one split towards another until some arm has changed by ``maximum_step``."""
    farthest = float(np.abs(wanted - held).max())
    part = 1.0 if farthest <= maximum_step else maximum_step / farthest
    return np.asarray(held + part * (wanted - held))


def in_slots(shares: Floats) -> list[float]:
    """Round to whole slots of the bucket, by largest remainder: the sum is 1, in doubles too.

    Source: the method of Hamilton. Ranges of the bucket begin and end at slots.
    """
    exact = shares / shares.sum() * SLOTS
    whole = np.floor(exact)
    missing = SLOTS - int(whole.sum())
    largest = np.argsort(whole - exact, kind="stable")[:missing]
    whole[largest] += 1
    return [float(each) for each in whole / SLOTS]
