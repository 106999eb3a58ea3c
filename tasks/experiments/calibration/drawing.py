"""Draw the arms of units anew, cell by cell.

Units of one cell are alike, so that it only matters how many of them go to an arm: a binomial
number, as where each unit is drawn by itself. That is the permutation of single units (Fisher 1935;
Ernst 2004, Statistical Science 19), at the price of the cells. Which units of a cell they are moves
the sums a little; that is drawn as a normal with the covariance of a sample without replacement.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tasks.experiments.calibration.cells import Cells
from tasks.experiments.metrics import ArmMoments
from tasks.experiments.statistics.moments import SampleMean
from tasks.experiments.statistics.ratios import JointMoments

Floats = NDArray[np.float64]
_AT_ONCE = 4_000_000  # numbers in a piece of the draws
_UNITS, _N, _SUM, _SQUARES, _PAIRS, _PAIR_SUM, _OTHER, _OTHER_SQUARES, _PRODUCTS = range(9)


@dataclass(frozen=True)
class Drawn:
    """Sums of one arm after each look: draws × looks × the nine sums, about the centres."""

    sums: Floats
    centre: float
    other_centre: float
    is_paired: bool

    @cached_property
    def _moments(self) -> Floats:
        """Count, mean, m2, second mean, its m2, and co-moment: draws × looks × 6."""
        s = np.moveaxis(self.sums, -1, 0)
        n, pairs = np.maximum(s[_N], 1), np.maximum(s[_PAIRS], 1)
        columns = (
            s[_N],
            self.centre + s[_SUM] / n,
            np.maximum(s[_SQUARES] - s[_SUM] ** 2 / n, 0),
            self.other_centre + s[_OTHER] / pairs,
            np.maximum(s[_OTHER_SQUARES] - s[_OTHER] ** 2 / pairs, 0),
            s[_PRODUCTS] - s[_PAIR_SUM] * s[_OTHER] / pairs,
        )
        return np.stack(columns, axis=-1)

    def units(self, draw: int) -> list[int]:
        """Units of the arm after each look."""
        return [round(units) for units in self.sums[draw, :, _UNITS].tolist()]

    def values(self, draw: int, look: int, second_value: str | None) -> ArmMoments:
        """The arm's sufficient statistics after a look, as the metric's kind takes them."""
        n, mean, m2, *other = self._moments[draw, look].tolist()
        value = SampleMean(round(n), mean, m2)
        if not self.is_paired:
            return ArmMoments(value)
        joint = JointMoments(round(n), mean, m2, *other)
        if second_value == "denominator":
            return ArmMoments(value, denominator=joint)
        return ArmMoments(value, covariate=joint)


def draw_arms(cells: Cells, share: float, draws: int, seed: int) -> Iterator[tuple[Drawn, Drawn]]:
    """Draw control and treatment many times, a piece of the draws at a time.

    Args:
        cells: of all units.
        share: of them that goes to the treatment, each unit by itself, above 0 and below 1.
        draws: how often.
        seed: the same one draws the same arms.
    """
    rng = np.random.default_rng(seed)
    centre, other_centre, is_paired = _centres(cells)
    sums, spread = _sums_a_unit(cells, centre, other_centre), _spread(cells)
    total = _by_look(cells, np.ones((1, len(sums))) * cells.counts.units, sums)
    piece = max(1, min(draws, _AT_ONCE // max(1, len(sums))))
    for start in range(0, draws, piece):
        size = (min(piece, draws - start), len(sums))
        chosen = rng.binomial(cells.counts.units, share, size=size).astype(float)
        found = _by_look(cells, chosen, sums)
        if spread.any():
            free = chosen - chosen**2 / cells.counts.units
            found += _within(_by_look(cells, free, spread), rng)
        treatment = np.cumsum(found, axis=1)
        control = np.cumsum(total, axis=1) - treatment
        yield (
            Drawn(control, centre, other_centre, is_paired),
            Drawn(treatment, centre, other_centre, is_paired),
        )


def _centres(cells: Cells) -> tuple[float, float, bool]:
    units, paired = cells.counts.units, cells.counts.has_other
    valued = units * cells.counts.has_value
    mean = float(valued @ cells.mean / max(1, valued.sum()))
    if not paired.any():
        return mean, 0.0, False
    pairs = units * paired
    return mean, float(pairs @ cells.other_mean / pairs.sum()), True


def _sums_a_unit(cells: Cells, centre: float, other_centre: float) -> Floats:
    """What a unit of each cell adds to the nine sums, on average."""
    units, pair = cells.counts.units, cells.counts.has_other
    value = np.where(cells.counts.has_value, cells.mean - centre, 0.0)
    other = np.where(pair, cells.other_mean - other_centre, 0.0)
    return np.column_stack(
        (
            np.ones(len(units)),
            cells.counts.has_value,
            value,
            value**2 + cells.m2 / units,
            pair,
            value * pair,
            other,
            other**2 + cells.other_m2 / units,
            value * other + cells.co_m2 / units,
        )
    ).astype(float)


def _spread(cells: Cells) -> Floats:
    """Variances of value and second value within each cell, and their covariance."""
    free = np.maximum(cells.counts.units - 1, 1)
    return np.column_stack((cells.m2, cells.other_m2, cells.co_m2)) / free[:, None]


def _by_look(cells: Cells, chosen: Floats, a_unit: Floats) -> Floats:
    """Add up what the chosen units bring, look by look: draws × looks × columns."""
    ends = np.searchsorted(cells.counts.look, np.arange(cells.looks + 1))
    parts = [chosen[:, first:last] @ a_unit[first:last] for first, last in pairwise(ends.tolist())]
    return np.stack(parts, axis=1)


def _within(covariance: Floats, rng: np.random.Generator) -> Floats:
    """What it adds which units of a cell were chosen: sums of value and second value."""
    first, second = rng.standard_normal((2, *covariance.shape[:2]))
    variance, other_variance, common = np.moveaxis(covariance, -1, 0)
    deviation = np.sqrt(np.maximum(variance, 0))
    along = np.divide(common, deviation, out=np.zeros_like(common), where=deviation > 0)
    across = np.sqrt(np.maximum(other_variance - along**2, 0))
    added = np.zeros((*covariance.shape[:2], 9))
    added[..., _SUM] = added[..., _PAIR_SUM] = deviation * first
    added[..., _OTHER] = along * first + across * second
    return added
