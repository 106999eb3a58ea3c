"""Posteriors of the arms of many bandits, as they can be integrated: see `thompson`.

Arrays are bandits x arms. Each kind of posterior says where its density has fallen by given
amounts, and what the density is there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]

# Where pieces end, in standard deviations of a normal arm: beyond the last are 3e-13 of it.
_REACHES = np.array([1.7, 3.4, 5.2, 7.3])
EDGES = 2 * len(_REACHES) + 1
_NEWTON_STEPS = 80
_LEAST_PRIOR = 0.1
_LEAST_VARYING = 5


@dataclass(frozen=True, slots=True)
class BetaArms:
    """Beta posteriors of rates; ``t`` is the log odds, where no density has a pole."""

    a: Floats
    b: Floats

    @property
    def shape(self) -> tuple[int, int]:
        """Bandits, arms."""
        return self.a.shape[0], self.a.shape[1]

    @property
    def mean(self) -> Floats:
        """Expected rate of each arm."""
        return np.asarray(self.a / (self.a + self.b))

    def edges(self) -> Floats:
        """The level sets of the density, by Newton's method from outside."""
        center = np.log(self.a / self.b)[..., None]
        down, up = _distances(self.b, self.a), _distances(self.a, self.b)
        return np.concatenate([center - down[..., ::-1], center, center + up], axis=-1)

    def log_density(self, arm: int, t: Floats) -> Floats:
        """Relative to the peak, so that nothing cancels however many units there are."""
        a, b = self.a[:, arm, None, None], self.b[:, arm, None, None]
        distance = t - np.log(a / b)
        return -_fall(np.where(distance < 0, b, a), a + b, np.abs(distance))

    def slope(self, t: Floats) -> Floats:
        """Derivative of the rate by its log odds."""
        return np.asarray(special.expit(t) * special.expit(-t))

    def mirrored(self) -> BetaArms:
        """Shares of units that did not convert."""
        return BetaArms(self.b, self.a)

    def part(self, rows: slice) -> BetaArms:
        """Some of the bandits."""
        return BetaArms(self.a[rows], self.b[rows])


@dataclass(frozen=True, slots=True)
class NormalArms:
    """Normal posteriors of means; every deviation is above 0."""

    mean: Floats
    deviation: Floats

    @property
    def shape(self) -> tuple[int, int]:
        """Bandits, arms."""
        return self.mean.shape[0], self.mean.shape[1]

    def edges(self) -> Floats:
        """Multiples of the deviation around the mean."""
        reaches = np.concatenate([-_REACHES[::-1], [0.0], _REACHES])
        return np.asarray(self._centered[..., None] + self.deviation[..., None] * reaches)

    def log_density(self, arm: int, t: Floats) -> Floats:
        """Minus half of the squared standard score."""
        center, deviation = self._centered[:, arm], self.deviation[:, arm]
        score = (t - center[:, None, None]) / deviation[:, None, None]
        return np.asarray(-0.5 * score * score)

    def slope(self, t: Floats) -> Floats:
        """The variable is the value, less that of the arm which leads."""
        return np.ones_like(t)

    def mirrored(self) -> NormalArms:
        """Means with the other sign."""
        return NormalArms(-self.mean, self.deviation)

    def part(self, rows: slice) -> NormalArms:
        """Some of the bandits."""
        return NormalArms(self.mean[rows], self.deviation[rows])

    @property
    def _centered(self) -> Floats:
        # Means of a billion with deviations of a millionth would leave no digits for ``t``.
        return np.asarray(self.mean - self.mean.max(axis=1, keepdims=True))


def beta_arms(n: ArrayLike, successes: ArrayLike, prior: tuple[float, float] = (1, 1)) -> BetaArms:
    """Posteriors of rates under a Beta prior, uniform unless given.

    Raises ValueError for a prior below a tenth of a unit: its density has no end in log odds.
    """
    if min(prior) < _LEAST_PRIOR:
        raise ValueError(f"a Beta prior needs at least {_LEAST_PRIOR} of a unit each, not {prior}")
    total, found = np.asarray(n, float), np.asarray(successes, float)
    return BetaArms(prior[0] + found, prior[1] + total - found)


def normal_arms(n: ArrayLike, mean: ArrayLike, m2: ArrayLike) -> NormalArms:
    """Posteriors of means under a flat prior: normal, with variance s² / n.

    An arm that hardly varied is not taken for certain: its sum of squared deviations counts as at
    least that of five of its units (all of them, if fewer) that lie as far off as units of all
    arms do. Without units an arm is thought to be like one unit drawn from all of them. Where
    nothing varies at all every arm is alike.
    """
    count, means, squares = (np.asarray(each, float) for each in (n, mean, m2))
    units = count.sum(axis=1, keepdims=True)
    middle = (count * means).sum(axis=1, keepdims=True) / np.maximum(units, 1)
    spread = squares + count * (means - middle) ** 2
    variance = spread.sum(axis=1, keepdims=True) / np.maximum(units - 1, 1)
    freedom = np.maximum(count - 1, 1)
    least = np.where(variance > 0, variance, 1.0) * np.minimum(freedom, _LEAST_VARYING)
    error = np.maximum(squares, least) / freedom / np.maximum(count, 1)
    return NormalArms(np.where(count > 0, means, middle), np.sqrt(error))


def _fall(c: Floats, total: Floats, distance: Floats) -> Floats:
    """By how much the log density of Beta(c, total - c) in log odds has fallen, above its peak."""
    return np.asarray(total * np.log1p(c / total * np.expm1(distance)) - c * distance)


def _distances(a: Floats, b: Floats) -> Floats:
    """How far above its peak the log density of Beta(a, b) in log odds has fallen by _REACHES²/2.

    The fall is convex: Newton's first step from where a normal arm's would be leads beyond the
    root, the next ones come down to it.
    """
    c, total, fall = a[..., None], (a + b)[..., None], 0.5 * _REACHES**2
    furthest = fall / b[..., None] - np.log(c / total) * total / b[..., None]
    u = np.minimum(furthest, _REACHES * np.sqrt(total / c / b[..., None]))
    for _ in range(_NEWTON_STEPS):
        grown = c / total * np.expm1(u)
        slope = (total - c) * grown / (1 + grown)  # of the fall, at u
        step = (total * np.log1p(grown) - c * u - fall) / slope
        is_near = np.abs(step) <= 0.01 * u
        if is_near.all():
            break
        # Each stops on its own, so that an arm comes out alike whoever is calculated beside it.
        u = np.where(is_near, u, np.minimum(u - step, furthest))
    return np.asarray(u)
