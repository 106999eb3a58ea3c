"""Arms compared within allocation epochs: while shares move with the outcome, pooled arms mislead.

Whoever comes late meets another mood and another split. Pooled over epochs with different splits
the arms differ by the mood alone; within an epoch they do not. How epochs are merged and weighed,
and why the effect and the test weigh them differently, says `strata`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, nan, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tasks.experiments.statistics.combining import combined
from tasks.experiments.statistics.comparison import Comparison, normal_p_value, relative_lift
from tasks.experiments.statistics.estimates import (
    Estimate,
    Estimates,
    compare,
    of_mean,
    of_proportion,
    with_error,
)
from tasks.experiments.statistics.lift import (
    UNKNOWN,
    Lift,
    fieller_lift,
    lift_of_means,
    lift_of_proportions,
)
from tasks.experiments.statistics.means import welch
from tasks.experiments.statistics.moments import SampleMean, as_proportion
from tasks.experiments.statistics.proportions import LEAST_EXPECTED, compare_proportions
from tasks.experiments.statistics.strata import Strata, strata_of

Floats = NDArray[np.float64]
_TURNS = 8
_NOBODY = Estimate(0, nan, nan)


@dataclass(frozen=True, slots=True)
class Stratified:
    """A treatment against the control over all epochs in which both were on offer."""

    effect: Comparison  # weighted by traffic: unbiased; what is reported
    lift: Lift  # of the same two values
    control: Estimate  # those two; n as `combined` has it
    treatment: Estimate
    test: Comparison  # weighted for testing: what bounds, sequences and single looks judge
    traffic: int  # units of all arms in those epochs: the clock of the test
    strata: int


def stratify(
    control: Sequence[SampleMean | None],
    treatment: Sequence[SampleMean | None],
    traffic: Sequence[int],
    alpha: float = 0.05,
    *,
    is_rate: bool = False,
) -> Stratified:
    """Compare two arms whose shares changed from epoch to epoch; epochs as in `strata_of`.

    With a single stratum both comparisons are the usual ones, exact at small counts. With several
    the effect has Welch's interval, and the test is a score test; that of rates is undefined where
    an arm expects fewer than 5 conversions, or 5 units without one.
    ``alpha`` is that of the intervals, for a single look. Figures so large or small that doubles
    cannot hold what follows from them are undefined. Raises InputError as `strata_of` does.
    """
    epochs = strata_of(control, treatment, traffic)
    try:
        with np.errstate(all="ignore"):
            return _stratified(epochs, alpha, is_rate=is_rate)
    except (ArithmeticError, ValueError):
        units = int(epochs.traffic.sum())
        return Stratified(Comparison(), UNKNOWN, _NOBODY, _NOBODY, Comparison(), units, strata=0)


def _stratified(epochs: Strata, alpha: float, *, is_rate: bool) -> Stratified:
    strata = epochs.merged()
    if len(strata.n) < 2:
        return _single(strata, alpha, is_rate=is_rate)
    arms = _weighed(strata, strata.effect_weights)
    effect = compare(*arms, alpha)
    return Stratified(
        effect=effect,
        lift=fieller_lift(*arms, alpha, effect.dof),
        control=arms[0],
        treatment=arms[1],
        test=_tested(epochs, alpha, is_rate=is_rate),
        traffic=int(strata.traffic.sum()),
        strata=len(strata.n),
    )


def _single(strata: Strata, alpha: float, *, is_rate: bool) -> Stratified:
    units, means, m2 = (part.sum(axis=0).tolist() for part in (strata.n, strata.mean, strata.m2))
    control, treatment = (SampleMean(int(units[arm]), means[arm], m2[arm]) for arm in (0, 1))
    if is_rate:
        rates = as_proportion(control), as_proportion(treatment)
        found, lift = compare_proportions(*rates, alpha), lift_of_proportions(*rates, alpha)
        arms = of_proportion(rates[0]), of_proportion(rates[1])
    else:
        found = welch(control, treatment, alpha)
        lift = lift_of_means(control, treatment, alpha)
        arms = of_mean(control), of_mean(treatment)
    traffic = int(strata.traffic.sum())
    return Stratified(found, lift, *arms, test=found, traffic=traffic, strata=len(strata.n))


def _weighed(strata: Strata, weights: Floats) -> tuple[Estimate, Estimate]:
    n, mean, variance = strata.n, strata.mean, strata.variance
    control, treatment = (
        combined(Estimates(n[:, arm], mean[:, arm], variance[:, arm]), weights) for arm in (0, 1)
    )
    return control, treatment


def _tested(epochs: Strata, alpha: float, *, is_rate: bool) -> Comparison:
    """Weighted difference over its standard error if the arm made no difference to any unit.

    Within an epoch that variance is the one over all ways to deal its units out to the two arms:
    a starved arm borrows it from the other one. For rates with weights n_t n_c / (n_t + n_c) this
    is the test of Mantel and Haenszel (1959). Means may be alike where spreads are not: there the
    larger error counts, this one or that with each arm's own spread.
    """
    both = epochs.where(epochs.n.min(axis=1) > 0)
    spread, weights = both.joint_variance, both.test_weights
    parts = np.where(spread > 0, weights**2 * spread / both.precision, 0.0)
    variance = float(parts.sum())
    if not 0 < variance < inf or (is_rate and _least_expected(both) < LEAST_EXPECTED):
        return Comparison()
    control, treatment = (weights @ both.mean).tolist()
    if is_rate:
        found = _normal(treatment - control, sqrt(variance), alpha)
    else:
        dof = 1 / float(((parts / variance) ** 2 / (both.n.sum(axis=1) - 1)).sum())
        error = sqrt(max(variance, _own_variance(both, weights)))
        found = with_error(treatment - control, error, dof, alpha)
    return replace(found, lift=relative_lift(control, treatment))


def _own_variance(both: Strata, weights: Floats) -> float:
    """With each arm's spread a multiple of the epoch's: cells may be too small for one of theirs.

    The two are fitted in turns, as the likeliest of normal values; 0 where an arm has none.
    """
    free, of_arm = np.maximum(both.n - 1, 0.0), np.ones(2)
    for _ in range(_TURNS):
        of_epoch = (both.m2 / of_arm).sum(axis=1) / np.maximum(free.sum(axis=1), 1)
        is_known = of_epoch > 0
        scaled = both.m2[is_known] / of_epoch[is_known, None]
        of_arm = scaled.sum(axis=0) / np.maximum(free[is_known].sum(axis=0), 1)
        if not (of_arm > 0).all():
            return 0.0
    return float((weights**2 * of_epoch) @ (of_arm / both.n).sum(axis=1))


def _least_expected(both: Strata) -> float:
    """Conversions, or units without one, that the arm with the fewest expects."""
    pooled = (both.n * both.mean).sum(axis=1) / both.n.sum(axis=1)
    return float(min((pooled @ both.n).min(), ((1 - pooled) @ both.n).min()))


def _normal(difference: float, error: float, alpha: float) -> Comparison:
    z, half = difference / error, -float(special.ndtri(alpha / 2)) * error
    ends = difference - half, difference + half
    return Comparison(difference, error, z, None, normal_p_value(z), z, *ends)
