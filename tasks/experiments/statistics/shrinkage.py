"""Many experiments at once: what each of them, and all together, really brought.

The effects that were largest were also the luckiest ones. How much of their spread is luck follows
from their standard errors; the rest is real. Each effect is drawn towards the mean of all by the
share that is luck (empirical Bayes), and the sum of what was launched is made of those: the sum of
the raw effects of winners promises more than a holdout will show.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tasks.experiments.statistics.comparison import Comparison, normal_p_value, relative_lift

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Effect:
    """What one experiment found; None where it is unknown."""

    name: str
    value: float | None
    standard_error: float | None
    is_launched: bool = True  # counts in the total; all effects tell how much is luck


@dataclass(frozen=True, slots=True)
class Prior:
    """What true effects are like, known from elsewhere: normal."""

    mean: float
    variance: float


@dataclass(frozen=True, slots=True)
class Shrunk:
    """An effect with the luck taken out, and its interval."""

    name: str
    raw: float
    raw_error: float
    value: float
    standard_error: float
    lower: float
    upper: float
    shrinkage: float  # the share of luck, 0 to 1: how far it was drawn to the mean


@dataclass(frozen=True, slots=True)
class Total:
    """A sum of effects with its interval."""

    value: float
    standard_error: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class RollUp:
    """All experiments together."""

    effects: tuple[Shrunk, ...]
    total: Total  # of the shrunken effects that were launched
    raw_total: Total  # of the same, as they were found
    mean: float | None  # of true effects; None without any
    variance: float | None  # of true effects
    q: float | None  # Cochran's: are the true effects different at all?
    p_value: float | None
    left_out: tuple[str, ...]  # unknown effects: the totals are without them


_NOTHING = Total(0.0, 0.0, 0.0, 0.0)
_LEAST_TO_SHRINK = 4
_LARGEST = 1e60  # doubles cannot hold what follows from figures beyond it


def roll_up(effects: Sequence[Effect], alpha: float = 0.05, prior: Prior | None = None) -> RollUp:
    """Shrink the effects of experiments, and add up those that were launched.

    Args:
        effects: independent estimates in the same unit.
        alpha: of the intervals.
        prior: of the true effects. Without one its variance is that of DerSimonian and Laird
            (1986), its mean the weighted one, and the intervals carry the errors of both as Morris
            (1983) has it; fewer than four experiments cannot tell, and nothing is shrunken.
    """
    known = [each for each in effects if _is_known(each)]
    left_out = tuple(each.name for each in effects if each not in known)
    if not known:
        return RollUp((), _NOTHING, _NOTHING, None, None, None, None, left_out)
    values = np.array([each.value for each in known], dtype=float)
    errors = np.array([each.standard_error for each in known], dtype=float)
    q, spread = variance_between(values, errors)
    fitted = _by_data(values, errors, spread) if prior is None else _by_prior(values, errors, prior)
    is_launched = np.array([each.is_launched for each in known], dtype=float)
    reach, dof = -float(special.ndtri(alpha / 2)), len(known) - 1
    return RollUp(
        effects=tuple(_shrunk(known, values, errors, fitted, reach)),
        total=_total(fitted.values, fitted.covariance, is_launched, reach),
        raw_total=_total(values, np.diag(errors**2), is_launched, reach),
        mean=fitted.mean,
        variance=fitted.variance,
        q=q if dof else None,
        p_value=float(special.chdtrc(dof, q)) if dof else None,
        left_out=left_out,
    )


def variance_between(values: Floats, errors: Floats) -> tuple[float, float]:
    """Cochran's Q, and the variance of true effects that explains it, 0 or more.

    By the method of moments of DerSimonian and Laird (1986).
    """
    weights = errors**-2
    mean = weights @ values / weights.sum()
    q = float(weights @ (values - mean) ** 2)
    scale = float(weights.sum() - (weights**2).sum() / weights.sum())
    # A single effect, or one beside which the others weigh nothing: no variance can be seen.
    return q, max(0.0, (q - (len(values) - 1)) / scale) if scale > 0 else 0.0


def against_holdout(total: Total, holdout: Comparison, alpha: float = 0.05) -> Comparison:
    """What a holdout shows of all launches together, less their sum: below 0 it was promised more.

    ``holdout`` compares everybody else with the units that got none of the launches, in the unit
    of the effects; the two are taken as independent.
    """
    if holdout.difference is None or holdout.standard_error is None:
        return Comparison()
    error = sqrt(holdout.standard_error**2 + total.standard_error**2)
    difference, half = holdout.difference - total.value, -float(special.ndtri(alpha / 2)) * error
    z = difference / error
    ends = difference - half, difference + half
    lift = relative_lift(total.value, holdout.difference)
    return Comparison(difference, error, z, None, normal_p_value(z), z, *ends, lift)


def _is_known(effect: Effect) -> bool:
    value, error = effect.value, effect.standard_error
    if value is None or error is None:
        return False
    return abs(value) < _LARGEST and 1 / _LARGEST < error < _LARGEST


@dataclass(frozen=True, slots=True)
class _Fitted:
    values: Floats
    covariance: Floats
    shrinkage: Floats
    mean: float
    variance: float


def _by_prior(values: Floats, errors: Floats, prior: Prior) -> _Fitted:
    luck = errors**2 / (errors**2 + prior.variance)
    shrunken = luck * prior.mean + (1 - luck) * values
    return _Fitted(shrunken, np.diag((1 - luck) * errors**2), luck, prior.mean, prior.variance)


def _by_data(values: Floats, errors: Floats, spread: float) -> _Fitted:
    count, weights = len(values), 1 / (errors**2 + spread)
    mean = float(weights @ values / weights.sum())
    # A guessed variance draws too far: by (k - 3) / (k - 1) less it does not.
    luck = errors**2 * weights * max(0, count - 3) / max(1, count - 1)
    own = (1 - luck) * errors**2
    if count >= _LEAST_TO_SHRINK:
        typical = float(weights @ errors**2 / weights.sum())
        own += 2 / (count - 3) * luck**2 * (typical + spread) * weights * (values - mean) ** 2
    covariance = np.diag(own) + np.outer(luck, luck) / weights.sum()
    return _Fitted(luck * mean + (1 - luck) * values, covariance, luck, mean, spread)


def _shrunk(
    known: Sequence[Effect], raw: Floats, raw_errors: Floats, fitted: _Fitted, reach: float
) -> Iterator[Shrunk]:
    errors = np.sqrt(np.diag(fitted.covariance))
    columns = raw, raw_errors, fitted.values, errors
    ends = fitted.values - reach * errors, fitted.values + reach * errors
    rows = np.stack((*columns, *ends, fitted.shrinkage), axis=1).tolist()
    for each, row in zip(known, rows, strict=True):
        yield Shrunk(each.name, *row)


def _total(values: Floats, covariance: Floats, is_launched: Floats, reach: float) -> Total:
    value = float(is_launched @ values)
    error = sqrt(float(is_launched @ covariance @ is_launched))
    return Total(value, error, value - reach * error, value + reach * error)
