"""Figures of arms whose split has moved, compared within its epochs: what an update follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.experiments.statistics.fixed_effects import ArmUnits, Equations

QUERIES = load_queries(__package__)
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Figures:
    """The value of an arm at the mean mood of all units, as sure as that of ``n`` of one epoch."""

    n: int
    mean: float
    m2: float


def read_epochs(tx: Connection, experiment_ids: Sequence[str]) -> dict[UUID, list[Any]]:
    """The figures of each arm by epoch, in arrays: a row an arm, by experiment."""
    rows = tx.execute(QUERIES["bandit_epochs"], {"experiment_ids": list(experiment_ids)})
    return {key: list(group) for key, group in groupby(rows, lambda row: row.experiment_id)}


def compare_arms(
    arms: Sequence[Any], epochs: Sequence[Any], *, is_rate: bool
) -> dict[str, Figures]:
    """Compare the arms of one bandit, by name; nothing where its split has not moved.

    Nothing either where the epochs do not have all its units. ``arms`` are the rows of whole arms.
    """
    numbers = sorted({number for row in epochs for number in row.epochs})
    units = {row.name: sum(row.n) for row in epochs}
    if len(numbers) < 2 or any((arm.n or 0) != units.get(arm.name, 0) for arm in arms):
        return {}
    by_name = {row.name: row for row in epochs}
    parts = _columns([by_name.get(arm.name) for arm in arms], numbers)
    found = _compared(parts, has_denominator=arms[0].has_denominator)
    return {
        arm.name: _figures(found, place, arm, is_rate=is_rate) for place, arm in enumerate(arms)
    }


_PARTS = ("n", "mean", "m2", "denominator_mean", "denominator_m2", "denominator_c2")


def _columns(rows: Sequence[Any], numbers: Sequence[int]) -> dict[str, Floats]:
    """Arrays of epochs x arms; an epoch without an arm's units has zeros there."""
    places = {number: place for place, number in enumerate(numbers)}
    parts = {part: np.zeros((len(numbers), len(rows))) for part in _PARTS}
    for arm, row in enumerate(rows):
        for part in _PARTS if row is not None else ():
            at = [places[number] for number in row.epochs]
            parts[part][at, arm] = [value or 0.0 for value in getattr(row, part)]
    return parts


def _compared(parts: dict[str, Floats], *, has_denominator: bool) -> ArmUnits:
    n, mean, m2, x_mean, x_m2, c2 = (parts[part] for part in _PARTS)
    if not has_denominator:
        return Equations.of(ArmUnits(n, mean, m2)).total().solve()
    # A ratio by its first order: each unit's part in it, around the ratio of all units.
    base = (n * x_mean).sum()
    ratio, scale = ((n * mean).sum() / base, base / n.sum()) if base else (0.0, 1.0)
    linear = ArmUnits(n, mean - ratio * x_mean, m2 - 2 * ratio * c2 + ratio**2 * x_m2)
    found = Equations.of(linear).total().solve()
    return ArmUnits(found.n, ratio + found.mean / scale, np.maximum(found.m2, 0) / scale**2)


def _figures(found: ArmUnits, place: int, arm: Any, *, is_rate: bool) -> Figures:
    n, mean, m2 = (float(part[place]) for part in (found.n, found.mean, found.m2))
    whole = int(n + 1e-9)
    if is_rate:
        # Nobody who converts is known to convert in another mood; and a rate is one.
        mean = float(arm.mean) if arm.mean in (0.0, 1.0) else min(max(mean, 1 / max(n, 1)), 1.0)
        m2 = whole * mean * (1 - mean)
    return Figures(whole, mean, m2)
