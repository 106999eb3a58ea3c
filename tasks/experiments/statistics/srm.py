"""Sample ratio mismatch: did the traffic split as it was meant to?

The chi-square test is for one look. Looked at every hour it alarms in 2 % of the sound experiments
at 0.001, so at every look the sequential test decides: it may be read as often as one likes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]

SRM_ALPHA = 0.001
"""Below this p-value the split is taken as broken; the usual choice, as it is looked at often."""

CONCENTRATION = 1000.0
"""How sure the sequential test is beforehand that the split is nearly right, in units."""


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


@dataclass(frozen=True, slots=True)
class SequentialRatio:
    """The split after each batch: evidence against it, and p-values valid at every look."""

    log_bayes_factors: tuple[float, ...]
    p_values: tuple[float, ...]

    @property
    def bayes_factors(self) -> tuple[float, ...]:
        """How much likelier than the planned split another one made the counts so far."""
        return tuple(exp(min(factor, 700.0)) for factor in self.log_bayes_factors)

    @property
    def p_value(self) -> float:
        """After the last batch; it never grows. 1 without any."""
        return self.p_values[-1] if self.p_values else 1.0

    @property
    def is_mismatch(self) -> bool:
        """Tell whether the split was too unlikely to be chance at any look so far."""
        return self.p_value < SRM_ALPHA


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


def sequential_ratio(
    batches: Sequence[Sequence[int]],
    weights: Sequence[float] | Sequence[Sequence[float]],
    concentration: float = CONCENTRATION,
) -> SequentialRatio:
    """Test the split after every batch; the chance of ever being below alpha is at most alpha.

    Each batch is foretold by a Dirichlet-multinomial around the weights, corrected by how the arms
    fared so far, and weighed against the multinomial of the weights alone. Traffic in an arm of
    weight zero is a certain mismatch. Source: Lindon and Malek (2022), arXiv 2011.03567; the
    weights may change from batch to batch, as an allocation log says.

    Args:
        batches: new units of each arm, in order of time.
        weights: of the arms, any positive scale; one list, or one for each batch.
        concentration: of the prior, in units.
    """
    if not len(batches):
        return SequentialRatio((), ())
    counts = np.asarray(batches, dtype=float)
    planned = np.broadcast_to(np.asarray(weights, dtype=float), counts.shape)
    scale = planned.sum(axis=1, keepdims=True)
    shares = np.divide(planned, scale, out=np.zeros_like(counts), where=scale > 0)
    factors = np.cumsum(_log_factors(counts, shares, concentration))
    best = np.maximum.accumulate(np.maximum(factors, 0.0))
    return SequentialRatio(tuple(factors.tolist()), tuple(np.exp(-best).tolist()))


def _log_factors(counts: Floats, shares: Floats, concentration: float) -> Floats:
    totals = counts.sum(axis=1)
    before = np.cumsum(counts, axis=0) - counts
    meant = np.cumsum(totals[:, None] * shares, axis=0) - totals[:, None] * shares
    # How each arm fared so far, times what it is to get now: with constant weights its count.
    fared = np.divide(before, meant, out=np.ones_like(before), where=meant > 0) * shares
    whole = fared.sum(axis=1, keepdims=True)
    fared = np.divide(fared, whole, out=np.zeros_like(fared), where=whole > 0)
    prior = concentration * shares + fared * before.sum(axis=1, keepdims=True)
    size = prior.sum(axis=1)
    with np.errstate(all="ignore"):
        gained = special.gammaln(prior + counts) - special.gammaln(prior) - counts * np.log(shares)
    # An arm of weight zero: nothing was foretold, so one unit is infinite evidence.
    gained = np.where(shares > 0, gained, np.where(counts > 0, np.inf, 0.0))
    start = special.gammaln(np.maximum(size, 1)) - special.gammaln(np.maximum(size, 1) + totals)
    return np.asarray(start + gained.sum(axis=1))
