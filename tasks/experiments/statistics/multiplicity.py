"""Several comparisons at once: adjusted p-values, in the order given.

Bonferroni, Holm and Hochberg hold the chance of any false finding; Benjamini and Hochberg, and
Benjamini and Yekutieli, hold the share of false ones among the findings. Headway decides by Holm:
it holds under any dependence, and two arms share their control.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate


def bonferroni(p_values: Sequence[float]) -> list[float]:
    """m times each p-value, at most 1. Source: Dunn (1961)."""
    return [min(1.0, len(p_values) * p) for p in p_values]


def holm(p_values: Sequence[float]) -> list[float]:
    """Running maximum of (m - i + 1) p₍ᵢ₎ over the sorted p-values. Source: Holm (1979)."""
    m = len(p_values)
    return _stepped(p_values, lambda rank: m - rank, is_down=True)


def hochberg(p_values: Sequence[float]) -> list[float]:
    """Running minimum of (m - i + 1) p₍ᵢ₎ from the top; for independent or positively dependent.

    Source: Hochberg (1988).
    """
    m = len(p_values)
    return _stepped(p_values, lambda rank: m - rank, is_down=False)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Running minimum of m p₍ᵢ₎ / i from the top. Source: Benjamini and Hochberg (1995)."""
    m = len(p_values)
    return _stepped(p_values, lambda rank: m / (rank + 1), is_down=False)


def benjamini_yekutieli(p_values: Sequence[float]) -> list[float]:
    """Those of Benjamini and Hochberg times 1 + 1/2 + … + 1/m: under any dependence.

    Source: Benjamini and Yekutieli (2001).
    """
    m = len(p_values)
    harmonic = sum(1 / i for i in range(1, m + 1))
    return _stepped(p_values, lambda rank: harmonic * m / (rank + 1), is_down=False)


def _stepped(
    p_values: Sequence[float], factor: Callable[[int], float], *, is_down: bool
) -> list[float]:
    """Scale the sorted p-values by rank (from 0) and make them monotone, down or up."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    scaled = [min(1.0, factor(rank) * p_values[index]) for rank, index in enumerate(order)]
    monotone = (
        list(accumulate(scaled, max)) if is_down else list(accumulate(scaled[::-1], min))[::-1]
    )
    adjusted = [0.0] * len(order)
    for index, p in zip(order, monotone, strict=True):
        adjusted[index] = p
    return adjusted
