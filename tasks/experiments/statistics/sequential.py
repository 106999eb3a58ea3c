"""Group-sequential bounds: how far z must be out at each look so that looking often costs nothing.

Error spending at the information fractions that really occurred: after a fraction t at most
``alpha * t**rho`` of the error may have been spent (Lan and DeMets 1983; Kim and DeMets 1987).
The bounds come from integrating the density of the partial sums from look to look (Armitage,
McPherson and Rowe 1969) with Gauss-Legendre nodes dense enough for the step between two looks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, log, sqrt, tau
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

LEAST_STEP = 0.002
"""A look with less new information is passed over: it has no bound, the next one gets its error."""

_FURTHEST = 36.0  # standard errors; beyond this a double holds hardly any probability
_P_VALUES = 1e-12, 0.999  # sequential p-values are told apart between these
_WIDEST = 8.5  # how far the open side of a one-sided density is followed
_REACH = 12.0  # steps; no path comes from further away than this to cross a bound
_KEPT = 64
_MARCHES: OrderedDict[tuple[tuple[float, ...], float, float, int], March] = OrderedDict()
_MARCHES_LOCK = Lock()

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bound:
    """The bound of one look. ``z`` is None where the look could not decide anything."""

    fraction: float
    z: float | None
    alpha_spent: float  # cumulative, this look included


@dataclass(frozen=True, slots=True)
class Density:
    """Density of the sum, on nodes, over the paths that crossed no bound so far.

    Two-sided it is symmetric, and only the half from 0 up is kept.
    """

    fraction: float
    limit: float  # the sum may not have passed it (two-sided: nor its negative)
    nodes: Floats
    mass: Floats  # density × quadrature weight
    rise: float = 1.0  # how far its limit lay beyond the one before, in steps


@dataclass(frozen=True, slots=True)
class March:
    """All looks so far: their bounds, and the density after each look that has one."""

    bounds: tuple[Bound, ...]
    densities: tuple[Density, ...]  # the first is the start, at fraction 0


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
    return list(march(tuple(fractions), alpha, rho, sides).bounds)


def march(fractions: tuple[float, ...], alpha: float, rho: float = 2.0, sides: int = 2) -> March:
    """Go from look to look. All but the last look are usually known from the look before."""
    key = fractions, alpha, rho, sides
    found = _MARCHES.get(key)
    if found is None:
        found = _MARCHES.get((fractions[:-1], *key[1:])) or March((), (_start(sides),))
        for fraction in fractions[len(found.bounds) :]:
            found = _look(found, fraction, alpha * min(max(fraction, 0.0), 1.0) ** rho, sides)
        with _MARCHES_LOCK:
            _MARCHES[key] = found
            if len(_MARCHES) > _KEPT:
                _MARCHES.popitem(last=False)
    return found


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
    start = float(special.ndtri(0.025))
    gap = distance(start)
    end = min(most, max(least, start + 1.1 * gap))
    if gap * distance(end) > 0:
        end = most if gap > 0 else least
        if gap * distance(end) > 0:
            return 1.0 if gap > 0 else _P_VALUES[0]
    if gap == 0 or start == end:
        return 2 * float(special.ndtr(start))
    found = float(optimize.brentq(distance, start, end, xtol=2e-4, rtol=1e-6))
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


def _start(sides: int) -> Density:
    return Density(0.0, 0.0, np.zeros(1), np.full(1, 1 / sides))


def _look(found: March, fraction: float, budget: float, sides: int) -> March:
    density = found.densities[-1]
    spent = found.bounds[-1].alpha_spent if found.bounds else 0.0
    if fraction - density.fraction < LEAST_STEP - 1e-9 or budget <= spent:
        return March((*found.bounds, Bound(fraction, None, spent)), found.densities)
    rise = _rise(density, fraction, (budget - spent) / sides, sides)
    after = _advance(density, fraction, rise, sides)
    bound = Bound(fraction, after.limit / sqrt(fraction), budget)
    return March((*found.bounds, bound), (*found.densities, after))


def _rise(density: Density, fraction: float, error: float, sides: int) -> float:
    """Find the limit that the surviving paths pass with probability ``error``, as a rise."""
    sigma = sqrt(fraction - density.fraction)
    nodes, mass = (density.nodes - density.limit) / sigma, density.mass
    if sides == 2 and density.limit < _REACH * sigma:
        nodes = np.concatenate((nodes, -nodes - 2 * density.limit / sigma))
        mass = np.concatenate((mass, mass))
    is_near = nodes > -_REACH
    nodes, mass = nodes[is_near], mass[is_near]
    # Newton on the logarithm of the tail: it is concave, so the steps come down on the root.
    rise, step = density.rise, 1.0
    while abs(step) > 1e-9:
        gaps = nodes - rise
        tail = float(mass @ special.ndtr(gaps))
        slope = float(mass @ np.exp(-0.5 * gaps * gaps)) / sqrt(tau)
        step = min(log(tail / error) * tail / slope, _FURTHEST - rise)
        rise += step
    return rise


def _advance(density: Density, fraction: float, rise: float, sides: int) -> Density:
    """Carry the density on to this look, without the paths beyond its limit."""
    sigma = sqrt(fraction - density.fraction)
    limit = density.limit + rise * sigma
    low = 0.0 if sides == 2 else -_WIDEST * sqrt(fraction)
    points, weights = _gauss_legendre(_node_count((limit - low) / sigma))
    half = (limit - low) / 2
    nodes = low + half * (points + 1)
    new, old = nodes / sigma, density.nodes / sigma
    mass = _normal(np.subtract.outer(new, old)) @ density.mass
    if sides == 2:
        # What comes from the other side of 0 comes from near it.
        rows, columns = int(new.searchsorted(_REACH)), int(old.searchsorted(_REACH))
        mass[:rows] += _normal(np.add.outer(new[:rows], old[:columns])) @ density.mass[:columns]
    mass *= weights * (half / sigma / sqrt(tau))
    return Density(fraction, limit, nodes, mass, rise)


def _normal(z: Floats) -> Floats:
    """Without its constant, in place."""
    np.multiply(z, z, out=z)
    np.multiply(z, -0.5, out=z)
    # exp takes several times as long where it underflows; e^-100 is nothing here either.
    np.maximum(z, -100.0, out=z)
    return np.asarray(np.exp(z, out=z))


def _node_count(widths: float) -> int:
    """At least 1.6 nodes to each standard deviation of the step: bounds exact to 1e-6."""
    return min(2048, max(32, 8 * ceil(0.2 * widths)))


@lru_cache(maxsize=256)
def _gauss_legendre(count: int) -> tuple[Floats, Floats]:
    roots: Any = special.roots_legendre(count)
    return np.asarray(roots[0]), np.asarray(roots[1])
