"""Confidence sequences of a z: what more than one method needs of them."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.experiments.statistics.comparison import Comparison
from tasks.experiments.statistics.confidence_sequences import (
    AnytimeValid,
    confidence_sequence,
    mixture_rho,
)


def sequence_of(z: float, n: int, level: float, tuned: tuple[float, float]) -> AnytimeValid:
    """The sequence of a z at a level, tuned for another one: (level, units).

    Holm judges the arms at one level after the other; the evidence must not change with it.
    """
    tuning_n = tuned[1] * (mixture_rho(level, 1) / mixture_rho(tuned[0], 1)) ** 2
    return confidence_sequence(Comparison(difference=z, standard_error=1.0), n, level, tuning_n)


def anytime_p_value(
    deviates: Sequence[float | None], units: Sequence[int], tuned: tuple[float, float]
) -> float:
    """The smallest p-value of all the looks: it may be read at each of them; 1 before any."""
    found = (
        sequence_of(z, n, tuned[0], tuned).p_value
        for z, n in zip(deviates, units, strict=True)
        if z is not None and n > 0
    )
    return min((p for p in found if p is not None), default=1.0)


def first_crossing(
    deviates: Sequence[float | None],
    units: Sequence[int],
    level: float,
    tuned: tuple[float, float],
) -> int | None:
    """Index of the first look at which no effect was outside the interval of this level."""
    for index, (z, n) in enumerate(zip(deviates, units, strict=True)):
        if z is not None and n > 0 and abs(z) >= anytime_reach(n, level, tuned):
            return index
    return None


def anytime_reach(n: int, level: float, tuned: tuple[float, float]) -> float:
    """Half of the interval in standard errors, which is also what |z| has to reach."""
    upper = sequence_of(0.0, max(n, 1), level, tuned).upper
    return 0.0 if upper is None else upper
