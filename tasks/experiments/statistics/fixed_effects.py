"""Values of arms whose split has moved, as if all had met the same moods.

Whoever comes late meets another mood and another split. Pooled over both, the arm that had more
traffic in good times looks better than it is; where traffic follows that, it looks better still.
So arms are taken to differ by the same in every epoch, whatever its mood: value = arm + epoch, by
least squares over all units (Yates 1934, JASA 29; the "within" estimator of fixed effects). Nothing
but units that came while another arm was on offer tells arms apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ArmUnits:
    """Units, mean and squared deviations of arms; arrays are anything x arms."""

    n: Floats
    mean: Floats
    m2: Floats

    def __add__(self, other: ArmUnits) -> ArmUnits:
        """Merge two (Chan, Golub and LeVeque 1979)."""
        n = self.n + other.n
        gap, share = other.mean - self.mean, other.n / np.maximum(n, 1)
        m2 = self.m2 + other.m2 + gap**2 * self.n * share
        return ArmUnits(n, self.mean + gap * share, m2)


@dataclass(frozen=True, slots=True)
class Equations:
    """The normal equations of arms whose epochs are known: sums over epochs, so they add up."""

    couplings: Floats  # anything x arms x arms
    gains: Floats  # of an arm's units over their epochs
    sums: Floats  # of an arm's values
    units: Floats
    squares: Floats  # around the means of an arm in its epochs
    degrees: Floats

    @classmethod
    def of(cls, epochs: ArmUnits) -> Self:
        """Of every epoch for itself."""
        n, everybody = epochs.n, np.maximum(epochs.n.sum(axis=-1, keepdims=True), 1)
        mood = (n * epochs.mean).sum(axis=-1, keepdims=True) / everybody
        together = n[..., :, None] * n[..., None, :] / everybody[..., None]
        couplings = n[..., :, None] * np.eye(n.shape[-1]) - together
        gains = n * (epochs.mean - mood)
        degrees = np.maximum(n - 1, 0)
        return cls(couplings, gains, n * epochs.mean, n, epochs.m2, degrees)

    def __add__(self, other: Equations) -> Equations:
        return Equations(
            self.couplings + other.couplings,
            self.gains + other.gains,
            self.sums + other.sums,
            self.units + other.units,
            self.squares + other.squares,
            self.degrees + other.degrees,
        )

    def total(self) -> Equations:
        """The sum over the first axis."""
        parts = (self.couplings, self.gains, self.sums, self.units, self.squares, self.degrees)
        return Equations(*(part.sum(axis=0) for part in parts))

    def solve(self) -> ArmUnits:
        """The arms at the mean mood of all units; each as sure as ``n`` units of one mood are.

        Of the arm with the most units that is all of them. Any other has as many as make its
        difference to that one as sure as it is; one without units keeps none.
        """
        inverse: Floats = np.asarray(np.linalg.pinv(self.couplings, hermitian=True), np.float64)
        effects = (inverse @ self.gains[..., None])[..., 0]
        everybody = np.maximum(self.units.sum(axis=-1, keepdims=True), 1)
        level = (self.sums - self.units * effects).sum(axis=-1, keepdims=True) / everybody
        n = self._as_many(inverse)
        spread = self.squares / np.maximum(self.degrees, 1)
        return ArmUnits(n, effects + level, spread * np.maximum(n - 1, 0))

    def _as_many(self, inverse: Floats) -> Floats:
        """Units of one mood by which an arm would be as sure."""
        most = self.units.argmax(axis=-1)[..., None]
        first = np.take_along_axis(self.units, most, axis=-1)
        own = np.diagonal(inverse, axis1=-2, axis2=-1)
        shared = np.take_along_axis(inverse, most[..., None], axis=-1)[..., 0]
        difference = own + np.take_along_axis(own, most, axis=-1) - 2 * shared
        least = 1 / np.maximum(self.units, 1)
        variance = np.maximum(difference - 1 / np.maximum(first, 1), least)
        np.put_along_axis(variance, most, 1 / np.maximum(first, 1), axis=-1)
        return np.where(self.units > 0, 1 / variance, 0.0)
