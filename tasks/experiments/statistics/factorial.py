"""What each factor does, and which two change each other's effect, from the cells of a design.

Cell means are averaged with equal weights, however many units each has: a factor's effect is then
not that of another factor which happens to have more units at one of its levels. What is not in
the data, an empty cell or a contrast that a fraction cannot tell apart, is unknown, never zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from math import nan

import numpy as np
from numpy.typing import NDArray

from tasks.errors import InputError
from tasks.experiments.statistics.combining import combined, combined_many
from tasks.experiments.statistics.comparison import Comparison
from tasks.experiments.statistics.estimates import Estimate, Estimates, as_rows, compare_many
from tasks.experiments.statistics.factorial_designs import Cell, Design
from tasks.experiments.statistics.multiplicity import holm

Floats = NDArray[np.float64]
_EMPTY = Estimate(0, nan, nan)


@dataclass(frozen=True, slots=True)
class LevelMean:
    """One level of a factor, its cells averaged with equal weights; n is as `combined` has it."""

    factor: str
    level: str
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class FactorEffect:
    """A main effect (one factor) or an interaction (two), of levels against the base levels.

    An interaction is the effect of one level where the other factor is at its level, less that
    where it is at its base.
    """

    factors: tuple[str, ...]
    levels: tuple[str, ...]
    comparison: Comparison  # all None where it is unknown
    p_adjusted: float | None  # Holm over all known effects of its family
    aliases: tuple[str, ...] = ()  # what it cannot be told apart from, in letters
    missing: tuple[Cell, ...] = ()  # cells that it needs and that have fewer than two units


@dataclass(frozen=True, slots=True)
class FactorialEffects:
    """Everything that a design says of one metric."""

    levels: tuple[LevelMean, ...]
    main: tuple[FactorEffect, ...]
    interactions: tuple[FactorEffect, ...]


def factorial_effects(
    cells: Mapping[Cell, Estimate], design: Design, alpha: float = 0.05
) -> FactorialEffects:
    """Main effects and interactions of two factors, each family corrected by Holm.

    Args:
        cells: the metric in each cell of the design; one that is not named is empty.
        design: the design.
        alpha: of the intervals, each for itself.

    Raises:
        InputError: a cell that the design does not have.
    """
    foreign = sorted(set(cells) - set(design.cells))
    if foreign:
        raise InputError(f"the design has no cell {', '.join(foreign[0])}; see its cells")
    parts = as_rows(cells.get(cell, _EMPTY) for cell in design.cells)
    places = _places(design)
    with np.errstate(all="ignore"):
        main = _judged(design, parts, list(_main(design, places)), alpha)
        crossed = _judged(design, parts, list(_interactions(design, places)), alpha)
        return FactorialEffects(tuple(_level_means(design, parts, places)), main, crossed)


@dataclass(frozen=True, slots=True)
class _Contrast:
    """What an effect is made of: plus less minus, weights of the cells."""

    factors: tuple[str, ...]
    levels: tuple[str, ...]
    minus: Floats
    plus: Floats
    is_apart: bool  # from every main effect, unless it is one


def _places(design: Design) -> NDArray[np.int64]:
    """The levels of each cell as numbers, cells × factors; 0 is the base."""
    rows = [
        [factor.levels.index(level) for factor, level in zip(design.factors, cell, strict=True)]
        for cell in design.cells
    ]
    return np.array(rows, dtype=np.int64)


def _level_means(
    design: Design, parts: Estimates, places: NDArray[np.int64]
) -> Iterator[LevelMean]:
    for index, factor in enumerate(design.factors):
        for number, level in enumerate(factor.levels):
            weights = _averaging(places[:, index] == number)
            yield LevelMean(factor.name, level, combined(parts, weights))


def _main(design: Design, places: NDArray[np.int64]) -> Iterator[_Contrast]:
    for index, factor in enumerate(design.factors):
        base = _averaging(places[:, index] == 0)
        for number, level in enumerate(factor.levels[1:], start=1):
            plus = _averaging(places[:, index] == number)
            yield _Contrast((factor.name,), (level,), base, plus, is_apart=True)


def _interactions(design: Design, places: NDArray[np.int64]) -> Iterator[_Contrast]:
    """Differences of differences; of aliases among themselves only the first."""
    told: set[str] = set()
    for pair in combinations(range(len(design.factors)), 2):
        first, second = (design.factors[index] for index in pair)
        names = first.name, second.name
        aliases = [alias.lstrip("-") for alias in _aliases(design, names)]
        if design.letters(names) in told:
            continue
        told.update(aliases)
        is_apart = all(len(alias) > 1 for alias in aliases)
        one, other = places[:, pair[0]], places[:, pair[1]]
        for a, b in product(range(1, len(first.levels)), range(1, len(second.levels))):
            minus = _averaging((one == a) & (other == 0)) + _averaging((one == 0) & (other == b))
            plus = _averaging((one == a) & (other == b)) + _averaging((one == 0) & (other == 0))
            yield _Contrast(names, (first.levels[a], second.levels[b]), minus, plus, is_apart)


def _averaging(is_chosen: NDArray[np.bool_]) -> Floats:
    return np.asarray(is_chosen / is_chosen.sum())


def _judged(
    design: Design, parts: Estimates, contrasts: Sequence[_Contrast], alpha: float
) -> tuple[FactorEffect, ...]:
    """Compare all contrasts of a family at once, and correct them."""
    if not contrasts:
        return ()
    minus, plus = (
        combined_many(parts, np.stack([getattr(each, side) for each in contrasts]))
        for side in ("minus", "plus")
    )
    rows = compare_many(minus, plus, alpha)
    effects = [
        _effect(design, parts, contrast, rows.row(index))
        for index, contrast in enumerate(contrasts)
    ]
    known = [each.p_adjusted for each in effects if each.p_adjusted is not None]
    adjusted = iter(holm(known))
    return tuple(
        each if each.p_adjusted is None else replace(each, p_adjusted=next(adjusted))
        for each in effects
    )


def _effect(
    design: Design, parts: Estimates, contrast: _Contrast, found: Comparison
) -> FactorEffect:
    is_needed = (contrast.minus != 0) | (contrast.plus != 0)
    is_missing = is_needed & ((parts.n < 2) | np.isnan(parts.variance))
    missing = tuple(cell for cell, is_out in zip(design.cells, is_missing, strict=True) if is_out)
    if missing or not contrast.is_apart:
        found = Comparison()
    elif len(contrast.factors) > 1:
        found = replace(found, lift=None)  # there is nothing that it could be relative to
    aliases = _aliases(design, contrast.factors)
    return FactorEffect(contrast.factors, contrast.levels, found, found.p_value, aliases, missing)


def _aliases(design: Design, names: tuple[str, ...]) -> tuple[str, ...]:
    return design.aliases.get(design.letters(names), ())
