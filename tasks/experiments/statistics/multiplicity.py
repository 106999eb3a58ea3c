"""Several comparisons at once: Holm's step-down."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that hold the family-wise error rate, in the order given.

    Running maximum of (m - i + 1) p₍ᵢ₎ over the sorted p-values, at most 1. Source: Holm (1979).
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
