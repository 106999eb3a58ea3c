"""Allocation epochs of two arms as arrays: merged where an arm is too small, and how each weighs.

Two weightings, both free of outcomes. By *traffic*, all units of all arms: the allocation chooses
how many of them an arm gets, not how many there are, so the weighted effect is unbiased. (How many
came to the two compared arms depends on outcomes before: weighing by them, or by the precision
n_t n_c / (n_t + n_c), overstates the effect of an arm that is ahead.)

For *testing*, by √(traffic · n_t n_c / (n_t + n_c)): each unit of traffic then adds as much
variance to the sum whatever the allocation, so the units that came, over those planned, are its
information fraction. By precision information stops growing just when the arms look most apart, and
a single look at 0.05 is wrong in 9 to 11 %. Sources: Hadad, Hirshberg, Zhan, Wager and Athey
(2021); Zhang, Janson and Murphy (2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from sys import float_info

import numpy as np
from numpy.typing import NDArray

from tasks.errors import InputError
from tasks.experiments.statistics.moments import SampleMean

Floats = NDArray[np.float64]

LEAST_UNITS = 2
"""Fewer units in an arm have no variance of their own: the epoch joins the next one."""


@dataclass(frozen=True, slots=True)
class Strata:
    """Two arms in epochs, or in neighbours in time that were merged: arrays strata × arms."""

    n: Floats
    mean: Floats
    m2: Floats
    traffic: Floats  # one-dimensional: units of all arms

    @property
    def variance(self) -> Floats:
        """Sample variance of a unit; 0 where it is but the rounding of constants; NaN below 2."""
        return _variance(self.n, self.mean, self.m2)

    @property
    def joint_variance(self) -> Floats:
        """The same of the units of both arms as one sample; one-dimensional."""
        gap, total = self.mean[:, 1] - self.mean[:, 0], self.n.sum(axis=1)
        m2 = self.m2.sum(axis=1) + self.precision * gap**2
        return _variance(total, self.mean[:, 0], m2)

    @property
    def precision(self) -> Floats:
        """How much a stratum tells where all units vary alike: n_t n_c / (n_t + n_c)."""
        return np.asarray(self.n.prod(axis=1) / self.n.sum(axis=1))

    @property
    def effect_weights(self) -> Floats:
        """Each stratum's share of the traffic; they add up to 1."""
        return shares(self.traffic)

    @property
    def test_weights(self) -> Floats:
        """Shares by which every unit of traffic adds the same variance to the weighted sum."""
        return shares(np.sqrt(self.traffic * self.precision))

    def where(self, is_kept: NDArray[np.bool_]) -> Strata:
        """Some of the strata."""
        rows = self.n[is_kept], self.mean[is_kept], self.m2[is_kept]
        return Strata(*rows, self.traffic[is_kept])

    def merged(self) -> Strata:
        """The strata, each with at least 2 units in both arms unless there are none such."""
        if not len(self.n) or (self.n >= LEAST_UNITS).all():
            return self
        starts = merging(self.n)
        n = np.add.reduceat(self.n, starts)
        mean = np.add.reduceat(self.n * self.mean, starts) / np.maximum(n, 1)
        sizes = np.diff(starts, append=len(self.n))
        gaps = self.mean - np.repeat(mean, sizes, axis=0)
        m2 = np.add.reduceat(self.m2 + self.n * gaps**2, starts)
        return Strata(n, mean, m2, np.add.reduceat(self.traffic, starts))


def strata_of(
    control: Sequence[SampleMean | None],
    treatment: Sequence[SampleMean | None],
    traffic: Sequence[int],
) -> Strata:
    """Put the epochs in which both arms were on offer into arrays, unmerged.

    Args:
        control: the control's moments in each epoch, in order of time: EMPTY without units, None
            while the arm was not on offer.
        treatment: the treatment's, aligned.
        traffic: units of all arms in each epoch, aligned.

    Raises:
        InputError: the traffic of an epoch is less than its units in the two arms.
    """
    rows = [
        (first.n, second.n, first.mean, second.mean, first.m2, second.m2, units)
        for first, second, units in zip(control, treatment, traffic, strict=True)
        if first is not None and second is not None
    ]
    held = np.array(rows, dtype=float).reshape(-1, 7)
    found = Strata(held[:, :2], held[:, 2:4], held[:, 4:6], held[:, 6])
    if (found.n.sum(axis=1) > found.traffic).any():
        raise InputError(
            "an epoch has more units in two arms than its traffic; count the units of all arms "
            "in that epoch as its traffic"
        )
    return found


def merging(n: Floats) -> list[int]:
    """Where each stratum starts; ``n`` are the units, epochs × two arms, in order of time.

    An epoch in which an arm has fewer than 2 units joins those after it until it has; what is left
    at the end joins the last stratum. Outcomes play no part.
    """
    starts, waiting = [0], (0.0, 0.0)
    for index, (control, treatment) in enumerate(n.tolist()):
        waiting = waiting[0] + control, waiting[1] + treatment
        if min(waiting) >= LEAST_UNITS:
            starts.append(index + 1)
            waiting = 0.0, 0.0
    return starts[:-1] or [0]


def shares(sizes: Floats) -> Floats:
    """Sizes divided by their sum."""
    return np.asarray(sizes / sizes.sum())


def _variance(n: Floats, mean: Floats, m2: Floats) -> Floats:
    with np.errstate(all="ignore"):
        found = np.where(n > 1, np.maximum(m2, 0.0) / (n - 1), np.nan)
    is_noise = np.sqrt(found) <= float_info.epsilon * n * np.abs(mean)
    return np.where(is_noise, 0.0, found)
