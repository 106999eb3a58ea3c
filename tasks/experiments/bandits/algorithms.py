"""What share each arm should have, by what is known of it. Open by registry.

Another package adds an algorithm by the entry point group ``headway.bandits``:

    @algorithms.register("softmax")
    def softmax(standing: Standing) -> Floats: ...
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.experiments.statistics import thompson as chances
from tasks.registry import Registry

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Standing:
    """How the arms of one bandit stand, two of them or more."""

    best: Floats  # chance to be the best
    second: Floats  # chance to be the second best
    loss: Floats  # expected, against the best
    values: Floats  # posterior means, the higher the better
    epsilon: float  # part of the traffic that explores, where the algorithm asks for it


Algorithm = Callable[[Standing], Floats]
"""Returns the shares of the arms: not negative, together 1."""

algorithms: Registry[Algorithm] = Registry("bandit algorithm", "headway.bandits")

OF_TWO_THAT_LEAD = frozenset({"top_two", "top_two_sampling"})


@algorithms.register("thompson")
def thompson(standing: Standing) -> Floats:
    """Each arm gets its chance to be the best. Source: Thompson (1933)."""
    return np.asarray(standing.best / standing.best.sum())


@algorithms.register("top_two")
def top_two(standing: Standing) -> Floats:
    """The two that lead share: each arm gets the mean of its chances to be first and second."""
    shares = chances.top_two_shares(standing.best, standing.second)
    return np.asarray(shares / shares.sum())


@algorithms.register("top_two_sampling")
def top_two_sampling(standing: Standing) -> Floats:
    """As `top_two`, but whoever challenges is drawn by its chance to be the best (Russo 2016)."""
    shares = chances.top_two_sampling(standing.best)
    return np.asarray(shares / shares.sum())


@algorithms.register("epsilon_greedy")
def epsilon_greedy(standing: Standing) -> Floats:
    """A part goes to all arms alike, the rest to that with the best mean; ties share it."""
    is_leading = standing.values == standing.values.max()
    explored = standing.epsilon / len(is_leading)
    return np.asarray(explored + (1 - standing.epsilon) * is_leading / is_leading.sum())
