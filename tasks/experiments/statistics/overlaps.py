"""Experiments that share units: does one change the effect of the other, and were they independent?

The units of both, by the arms they got in each, are the cells of a factorial design. If the effects
merely add up, every difference of differences is zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tasks.experiments.statistics.comparison import Comparison
from tasks.experiments.statistics.estimates import Estimate
from tasks.experiments.statistics.factorial import factorial_effects
from tasks.experiments.statistics.factorial_designs import Cell, Factor, full_factorial
from tasks.experiments.statistics.multiplicity import holm

Floats = NDArray[np.float64]

LEAST_UNITS = 100
"""Smaller cells make the interaction unknown: its test goes by the normal limit."""

_LARGEST = 1e100  # figures beyond it have no square in doubles


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two experiments and the units that are in both; the first arm of each is its control."""

    first: str
    second: str
    first_arms: tuple[str, ...]
    second_arms: tuple[str, ...]
    cells: Mapping[Cell, Estimate]  # the metric, by the arms in first and second


@dataclass(frozen=True, slots=True)
class CellTest:
    """A chi-square test over the cells; None where it is unknown."""

    chi2: float | None
    dof: int
    p_value: float | None
    p_adjusted: float | None = None  # Holm over all pairs of experiments


@dataclass(frozen=True, slots=True)
class Interaction:
    """How two experiments bear on each other."""

    first: str
    second: str
    differences: Mapping[tuple[str, str], Comparison]  # of differences, by the two treatments
    additivity: CellTest  # that the effects merely add up
    independence: CellTest  # that the arm in one says nothing of that in the other


def scan(overlaps: Sequence[Overlap], alpha: float = 0.05) -> tuple[Interaction, ...]:
    """Test every pair of experiments, each of the two tests corrected by Holm over all pairs.

    ``alpha`` is that of the intervals. Raises InputError for a cell of arms that are not named.
    """
    found = [_interaction(overlap, alpha) for overlap in overlaps]
    additivity = _corrected([each.additivity for each in found])
    independence = _corrected([each.independence for each in found])
    return tuple(
        replace(each, additivity=added, independence=assigned)
        for each, added, assigned in zip(found, additivity, independence, strict=True)
    )


def additivity(values: Floats, variances: Floats) -> CellTest:
    """The cells' squared distances from the additive fit, weighted by precision.

    Chi-square with (k - 1)(l - 1) degrees of freedom if effects add up; for two by two it is the
    squared z of the difference of differences. Arrays first arms × second arms; ``variances`` are
    those of the cells' values. Source: Searle (1971), chapter 7.
    """
    rows, columns = values.shape
    dof = (rows - 1) * (columns - 1)
    row, column = (np.ravel(each) for each in np.indices(values.shape))
    terms = np.column_stack(
        [row == i for i in range(rows)] + [column == j for j in range(1, columns)]
    ).astype(float)
    scale = 1 / np.sqrt(variances.ravel())
    fit = np.linalg.lstsq(terms * scale[:, None], values.ravel() * scale, rcond=None)[0]
    chi2 = float((((values.ravel() - terms @ fit) * scale) ** 2).sum())
    return CellTest(chi2, dof, float(special.chdtrc(dof, chi2)))


def independence(counts: Floats) -> CellTest:
    """Pearson's chi-square of a table of counts; unknown where an arm has no units."""
    dof = (counts.shape[0] - 1) * (counts.shape[1] - 1)
    sums = counts.sum(axis=1), counts.sum(axis=0)
    if min(sums[0].min(), sums[1].min()) <= 0:
        return CellTest(None, dof, None)
    expected = np.outer(*sums) / counts.sum()
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    return CellTest(chi2, dof, float(special.chdtrc(dof, chi2)))


def _interaction(overlap: Overlap, alpha: float) -> Interaction:
    factors = (
        Factor(overlap.first, overlap.first_arms),
        Factor(overlap.second, overlap.second_arms),
    )
    effects = factorial_effects(overlap.cells, full_factorial(factors), alpha)
    shape = len(overlap.first_arms), len(overlap.second_arms)
    cells = [
        overlap.cells.get((first, second), Estimate(0, np.nan, np.nan))
        for first in overlap.first_arms
        for second in overlap.second_arms
    ]
    n, value, variance = (
        np.array([getattr(cell, name) for cell in cells], dtype=float).reshape(shape)
        for name in ("n", "value", "variance")
    )
    with np.errstate(all="ignore"):
        sizes = np.abs(value) + variance + 1 / variance
    is_known = n.min() >= LEAST_UNITS and bool((sizes < _LARGEST).all())
    dof = (shape[0] - 1) * (shape[1] - 1)
    return Interaction(
        overlap.first,
        overlap.second,
        {(each.levels[0], each.levels[1]): each.comparison for each in effects.interactions},
        additivity(value, variance / n) if is_known else CellTest(None, dof, None),
        independence(n),
    )


def _corrected(tests: Sequence[CellTest]) -> list[CellTest]:
    adjusted = iter(holm([test.p_value for test in tests if test.p_value is not None]))
    return [
        test if test.p_value is None else replace(test, p_adjusted=next(adjusted)) for test in tests
    ]
