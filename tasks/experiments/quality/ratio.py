"""Did the units split as the allocation log says, epoch by epoch?

A unit keeps the arm that its epoch chose, so each arm is to have the units of every epoch times its
weight then. With one epoch this is the usual chi-square test of the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tasks.experiments.statistics.srm import sample_ratio, sequential_ratio

Floats = NDArray[np.float64]

# Below this expected count the tail of chi-square is too thin: 14 units where 5 were expected have
# p = 7e-4, and chi-square says 6e-5.
_MANY = 100.0


@dataclass(frozen=True)
class Split:
    """Units of each arm in each epoch, and the arms' weights then (any positive scale).

    Units of an arm that had no weight are left out: they are no matter of chance.
    """

    counts: tuple[tuple[int, ...], ...]  # epochs × arms
    weights: tuple[tuple[float, ...], ...]

    @cached_property
    def observed(self) -> list[int]:
        """Units of each arm, over the epochs."""
        return [int(units) for units in self._allowed.sum(axis=0)]

    @cached_property
    def expected(self) -> list[float]:
        """Units that each arm was to have: its weight in each epoch times the epoch's units."""
        return [float(units) for units in self._meant.sum(axis=0)]

    @property
    def total(self) -> int:
        """Units over all arms."""
        return sum(self.observed)

    def fixed_p_value(self) -> float | None:
        """Of one look; None where there is nothing to test.

        Chi-square with the covariance of a multinomial in each epoch; where an arm is to have few
        units the smallest exact binomial tail, times the arms (a sum of binomials with unlike
        shares varies no more than one with their mean: Hoeffding, 1956).
        """
        expected = [units for units in self.expected if units > 0]
        if len(expected) < 2 or self.total == 0:
            return None
        if min(expected) < _MANY:
            return self._exact_p_value()
        if len(self._used) == 1:
            row = self._used[0]
            return sample_ratio(self._allowed[row].astype(int).tolist(), self._shares[row]).p_value
        return self._mixed_p_value()

    def sequential_p_value(self) -> float | None:
        """Valid at every look: the chance of ever being below alpha is at most alpha."""
        if self.total == 0 or sum(units > 0 for units in self.expected) < 2:
            return None
        counts = self._allowed[self._used].astype(int).tolist()
        found = sequential_ratio(counts, self._shares[self._used].tolist())
        # What it said at the ends of earlier epochs counts as well: it was looked at then.
        return float(found.p_value)

    def _exact_p_value(self) -> float:
        tails = [
            min(1.0, 2 * min(_below(units, self.total, share), _above(units, self.total, share)))
            for units, share in zip(self.observed, self._mean_shares(), strict=True)
            if share > 0
        ]
        # Of two arms one says what the other does.
        return min(1.0, min(tails) * (len(tails) if len(tails) > 2 else 1))

    def _mean_shares(self) -> list[float]:
        return [units / self.total for units in self.expected]

    def _mixed_p_value(self) -> float | None:
        totals = self._allowed.sum(axis=1)
        weighted = totals[:, None] * self._shares
        covariance = np.diag(weighted.sum(axis=0)) - weighted.T @ self._shares
        gap = self._allowed.sum(axis=0) - self._meant.sum(axis=0)
        # Scaled, so that an arm with a small share is no rounding error.
        scale = 1 / np.sqrt(np.maximum(np.diag(covariance), 1e-300))
        values, vectors = np.linalg.eigh(covariance * np.outer(scale, scale))
        is_free = values > 1e-9 * values.max()
        if not is_free.any():
            return None  # no epoch had two arms
        along = vectors[:, is_free].T @ (gap * scale)
        chi2 = float((along**2 / values[is_free]).sum())
        return float(special.chdtrc(int(is_free.sum()), chi2))

    @cached_property
    def _shares(self) -> Floats:
        planned = np.asarray(self.weights, dtype=float)
        scale = planned.sum(axis=1, keepdims=True)
        return np.asarray(np.divide(planned, scale, out=np.zeros_like(planned), where=scale > 0))

    @cached_property
    def _allowed(self) -> Floats:
        counts = np.asarray(self.counts, dtype=float)
        return np.asarray(np.where(self._shares > 0, counts, 0.0))

    @cached_property
    def _meant(self) -> Floats:
        return np.asarray(self._allowed.sum(axis=1, keepdims=True) * self._shares)

    @cached_property
    def _used(self) -> list[int]:
        """Epochs that chose an arm for anybody."""
        return [row for row, units in enumerate(self._allowed.sum(axis=1)) if units > 0]


def is_alike(weights: Sequence[Sequence[float]]) -> bool:
    """Whether the epochs split the traffic alike."""
    return bool(np.allclose(weights, weights[0], rtol=0, atol=1e-12))


def _below(units: int, total: int, share: float) -> float:
    return float(special.bdtr(units, total, share)) if share < 1 else float(units >= total)


def _above(units: int, total: int, share: float) -> float:
    return float(special.bdtrc(units - 1, total, share)) if units > 0 else 1.0
