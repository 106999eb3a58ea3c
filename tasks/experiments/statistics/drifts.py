"""What the looks lead to if there is an effect: when a bound is crossed, and where one then stands.

The drift is the expected z at information fraction 1. The density under a drift is that without one
times exp(drift · s - drift² · t / 2), so one march from look to look serves every drift.
Source: Jennison and Turnbull (2000), chapters 3 and 19.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt, tau

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from tasks.experiments.statistics.sequential import march

Floats = NDArray[np.float64]

_MOST_DRIFT = 30.0


@dataclass(frozen=True, slots=True)
class Exits:
    """Every way over an upper bound: from a node of one look, across the bound of the next.

    Flat arrays, one element for each node of each look that has a bound.
    """

    look: NDArray[np.int64]  # which of the looks with a bound is the one that is crossed
    before: Floats  # fraction of the look before
    nodes: Floats  # the sum there
    mass: Floats
    sigma: Floats  # standard deviation of the step
    limit: Floats  # the sum that is crossed
    fractions: Floats  # of the looks with a bound
    z: Floats  # their bounds

    def upward(self, drift: float) -> Floats:
        """Probability of crossing the upper bound first at each of the looks."""
        weight, reach = self._tilted(drift)
        return self._by_look(weight * special.ndtr(reach))

    def upward_sums(self, drift: float) -> Floats:
        """At each look the expected sum where the upper bound is crossed there, else 0."""
        weight, reach = self._tilted(drift)
        height = (self.nodes + drift * self.sigma**2) * special.ndtr(reach)
        height += self.sigma * np.exp(-0.5 * reach**2) / sqrt(tau)
        return self._by_look(weight * height)

    def _by_look(self, parts: Floats) -> Floats:
        return np.bincount(self.look, parts, len(self.fractions)).astype(float)

    def _tilted(self, drift: float) -> tuple[Floats, Floats]:
        weight = self.mass * np.exp(drift * self.nodes - drift**2 * self.before / 2)
        reach = (self.nodes + drift * self.sigma**2 - self.limit) / self.sigma
        return weight, reach


def exits(fractions: Sequence[float], alpha: float, rho: float = 2.0) -> Exits:
    """All ways over the upper one of the two-sided bounds at these looks."""
    found = march(tuple(fractions), alpha, rho)
    parts = [np.empty((6, 0))]
    for look, (before, after) in enumerate(pairwise(found.densities)):
        # Two-sided densities are kept from 0 up: add the other half.
        nodes = np.concatenate((before.nodes, -before.nodes))
        mass = np.concatenate((before.mass, before.mass))
        sigma = sqrt(after.fraction - before.fraction)
        row = [look, before.fraction, sigma, after.limit]
        parts.append(np.vstack((np.tile(row, (len(nodes), 1)).T, nodes, mass)))
    look, before_t, sigmas, limits, nodes, mass = np.concatenate(parts, axis=1)
    bounds = [bound for bound in found.bounds if bound.z is not None]
    return Exits(
        look.astype(np.int64),
        before_t,
        nodes,
        mass,
        sigmas,
        limits,
        np.array([bound.fraction for bound in bounds]),
        np.array([bound.z for bound in bounds]),
    )


def power(fractions: Sequence[float], alpha: float, drift: float, rho: float = 2.0) -> float:
    """Probability that the upper bound is crossed at one of the looks."""
    return float(exits(fractions, alpha, rho).upward(drift).sum())


def mean_stop(fractions: Sequence[float], alpha: float, drift: float, rho: float = 2.0) -> float:
    """Expected information fraction at which one stops: at a bound of either side, or the end."""
    found = exits(fractions, alpha, rho)
    stopped = found.upward(drift) + found.upward(-drift)
    rest = max(0.0, 1 - float(stopped.sum()))
    return float(stopped @ found.fractions) + rest * max(fractions)


def drift_for(found: Exits, chance: float) -> float:
    """The drift at which the upper bound is crossed with this probability."""
    return float(
        optimize.brentq(lambda drift: float(found.upward(drift).sum()) - chance, 0.0, _MOST_DRIFT)
    )
