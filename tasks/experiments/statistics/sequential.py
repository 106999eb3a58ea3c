"""Group-sequential bounds: how far z must be out at each look so that looking often costs nothing.

Error spending at the information fractions that really occurred: after a fraction t at most
``alpha * t**rho`` of the error may have been spent (Lan and DeMets 1983; Kim and DeMets 1987).
The bounds come from integrating the density of the partial sums from look to look (Armitage,
McPherson and Rowe 1969) with Gauss-Legendre nodes dense enough for the step between two looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, log2, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

LEAST_STEP = 0.002
"""A look with less new information is passed over: it has no bound, the next one gets its error."""

_FURTHEST = 40.0  # standard errors; beyond this a double holds no probability
_P_VALUES = 1e-12, 0.999  # sequential p-values are told apart between these
_WIDEST = 8.5  # how far the open side of a one-sided density is followed

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bound:
    """The bound of one look. ``z`` is None where the look could not decide anything."""

    fraction: float
    z: float | None
    alpha_spent: float  # cumulative, this look included


@dataclass(frozen=True, slots=True)
class _Density:
    """Density of the sum, on nodes, over the paths that crossed no bound so far.

    Two-sided it is symmetric, and only the half from 0 up is kept.
    """

    fraction: float
    nodes: Floats
    mass: Floats  # density × quadrature weight


def group_sequential_bounds(
    fractions: Sequence[float], alpha: float, rho: float = 2.0, sides: int = 2
) -> list[Bound]:
    """Bounds for |z| (or z, one-sided) at each of the looks, in order.

    Args:
        fractions: information at each look as a share of the plan. Beyond 1 no error is left to
            spend, but the correlation between looks still uses the real information. A fraction
            that does not exceed the one before by LEAST_STEP gets no bound.
        alpha: error to spend by fraction 1.
        rho: power of the spending function; 2 is a compromise between Pocock and O'Brien-Fleming.
        sides: 2 for |z|, 1 for z.
    """
    bounds: list[Bound] = []
    spent, density = 0.0, _start(sides)
    for fraction in fractions:
        budget = alpha * min(max(fraction, 0.0), 1.0) ** rho
        if fraction - density.fraction < LEAST_STEP - 1e-9 or budget <= spent:
            bounds.append(Bound(fraction, None, spent))
            continue
        z = _solve(density, fraction, budget - spent, sides)
        density = _advance(density, fraction, z * sqrt(fraction), sides)
        spent = budget
        bounds.append(Bound(fraction, z, spent))
    return bounds


def sequential_p_value(
    fractions: Sequence[float], deviates: Sequence[float | None], rho: float = 2.0
) -> float:
    """The smallest alpha at which |z| has crossed its two-sided bound at some look so far.

    It may be read at every look, and is at most alpha exactly where the bounds of alpha were
    crossed. An undefined deviate crosses nothing. Exact to 0.1 %, from 1e-12 up.
    """

    def distance(quantile: float) -> float:
        alpha = 2 * float(special.ndtr(quantile))
        return _distance(group_sequential_bounds(fractions, alpha, rho), deviates)

    # As a normal quantile alpha moves the bounds almost linearly: a few steps are enough.
    least, most = (float(special.ndtri(alpha / 2)) for alpha in _P_VALUES)
    if distance(least) <= 0:
        return _P_VALUES[0]
    if distance(most) > 0:
        return 1.0
    found = float(optimize.brentq(distance, least, most, xtol=1e-5, rtol=1e-6))
    return 2 * float(special.ndtr(found))


def has_crossed(bounds: Sequence[Bound], deviates: Sequence[float | None]) -> int | None:
    """Return the index of the first look whose |z| reached its bound; None if none did."""
    for index, (bound, z) in enumerate(zip(bounds, deviates, strict=True)):
        if bound.z is not None and z is not None and abs(z) >= bound.z:
            return index
    return None


def _distance(bounds: Sequence[Bound], deviates: Sequence[float | None]) -> float:
    gaps = (
        bound.z - abs(z)
        for bound, z in zip(bounds, deviates, strict=True)
        if bound.z is not None and z is not None
    )
    return min(gaps, default=_FURTHEST)


def _start(sides: int) -> _Density:
    return _Density(0.0, np.zeros(1), np.full(1, 1 / sides))


def _solve(density: _Density, fraction: float, error: float, sides: int) -> float:
    """Find the z that the surviving paths cross with probability ``error`` at this look."""
    sigma = sqrt(fraction - density.fraction)

    def excess(z: float) -> float:
        limit = z * sqrt(fraction)
        above = special.ndtr((density.nodes - limit) / sigma)
        if sides == 1:
            return float(density.mass @ above) - error
        below = special.ndtr((-limit - density.nodes) / sigma)
        return 2 * float(density.mass @ (above + below)) - error

    return float(optimize.brentq(excess, -_WIDEST if sides == 1 else 0.0, _FURTHEST, xtol=1e-10))


def _advance(density: _Density, fraction: float, limit: float, sides: int) -> _Density:
    """Carry the density on to this look, without the paths beyond its bound."""
    sigma = sqrt(fraction - density.fraction)
    low = 0.0 if sides == 2 else -_WIDEST * sqrt(fraction)
    points, weights = _gauss_legendre(_node_count((limit - low) / sigma))
    half = (limit - low) / 2
    nodes = low + half * (points + 1)
    kernel = _normal((nodes[:, None] - density.nodes[None, :]) / sigma)
    if sides == 2:
        kernel += _normal((nodes[:, None] + density.nodes[None, :]) / sigma)
    return _Density(fraction, nodes, (kernel @ density.mass) * weights * (half / sigma))


def _normal(z: Floats) -> Floats:
    # exp takes several times as long where it underflows; e^-100 is nothing here either.
    return np.asarray(np.exp(np.maximum(-0.5 * z * z, -100.0)) / np.sqrt(2 * np.pi))


def _node_count(widths: float) -> int:
    """At least 1.6 nodes to each standard deviation of the step: bounds exact to 1e-6."""
    return int(2 ** min(11, max(5, ceil(log2(1.6 * widths)))))


@lru_cache(maxsize=8)
def _gauss_legendre(count: int) -> tuple[Floats, Floats]:
    roots: Any = special.roots_legendre(count)
    return np.asarray(roots[0]), np.asarray(roots[1])
