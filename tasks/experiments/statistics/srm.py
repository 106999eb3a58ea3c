"""Sample ratio mismatch: did the traffic split as it was meant to?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

SRM_ALPHA = 0.001
"""Below this p-value the split is taken as broken; the usual choice, as it is looked at often."""


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """Chi-square of the observed split; None where there is nothing to test."""

    chi2: float | None
    dof: int
    p_value: float | None

    @property
    def is_mismatch(self) -> bool:
        """Tell whether the split is too unlikely to be chance."""
        return self.p_value is not None and self.p_value < SRM_ALPHA


def sample_ratio(observed: Sequence[int], weights: Sequence[float]) -> SampleRatio:
    """Test counts per arm against their weights (any positive scale).

    Arms of weight zero do not count as degrees of freedom, and any traffic in one is a certain
    mismatch (p = 0). Undefined without traffic or with fewer than two arms of positive weight.
    """
    pairs = [(count, weight) for count, weight in zip(observed, weights, strict=True) if weight > 0]
    dof = max(len(pairs) - 1, 0)
    if any(count > 0 and weight <= 0 for count, weight in zip(observed, weights, strict=True)):
        return SampleRatio(None, dof, 0.0)
    total, scale = sum(count for count, _ in pairs), sum(weight for _, weight in pairs)
    if dof == 0 or total == 0:
        return SampleRatio(None, dof, None)
    expected = [total * weight / scale for _, weight in pairs]
    chi2 = sum((count - mean) ** 2 / mean for (count, _), mean in zip(pairs, expected, strict=True))
    return SampleRatio(chi2, dof, float(special.chdtrc(dof, chi2)))
