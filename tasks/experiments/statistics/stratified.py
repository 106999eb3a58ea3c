"""Arms compared within allocation epochs: while shares move with the outcome, pooled arms mislead.

Whoever comes late meets another mood and another split. Pooled over epochs with different splits
the arms differ by the mood alone; within an epoch they do not. How epochs are merged and weighed,
and why the effect and the test weigh them differently, says `strata`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, sqrt

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
)
from tasks.experiments.statistics.lift import Lift, fieller_lift, lift_of_means, lift_of_proportions
from tasks.experiments.statistics.means import welch
from tasks.experiments.statistics.moments import SampleMean, as_proportion
from tasks.experiments.statistics.proportions import LEAST_EXPECTED, compare_proportions
from tasks.experiments.statistics.strata import Strata, strata_of

Floats = NDArray[np.float64]


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

    With a single stratum both comparisons are the usual ones, exact at small counts. With several,
    means are compared by Welch's t test, the effect of rates too; rates are tested by a pooled z,
    which is undefined where an arm expects fewer than 5 conversions, or 5 units without one.
    ``alpha`` is that of the intervals, for a single look. Raises InputError as `strata_of` does.
    """
    epochs = strata_of(control, treatment, traffic)
    strata = epochs.merged()
    if len(strata.n) < 2:
        return _single(strata, alpha, is_rate=is_rate)
    arms = _weighed(strata, strata.effect_weights)
    effect = compare(*arms, alpha)
    test = compare(*_weighed(strata, strata.test_weights), alpha)
    return Stratified(
        effect=effect,
        lift=fieller_lift(*arms, alpha, effect.dof),
        control=arms[0],
        treatment=arms[1],
        test=_score_test(epochs, alpha) if is_rate else test,
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


def _score_test(epochs: Strata, alpha: float) -> Comparison:
    """Test of rates: in each epoch the variance is that of both arms having one rate.

    An epoch in which an arm has no units weighs nothing. With weights n_t n_c / (n_t + n_c) it
    would be the test of Mantel and Haenszel (1959).
    """
    both = epochs.where(epochs.n.min(axis=1) > 0)
    total = both.n.sum(axis=1)
    pooled = (both.n * both.mean).sum(axis=1) / total
    fewest = min((pooled @ both.n).min(), ((1 - pooled) @ both.n).min())
    if isnan(fewest) or fewest < LEAST_EXPECTED:
        return Comparison()
    weights = both.test_weights
    spread = weights**2 * pooled * (1 - pooled) * total / (total - 1)
    error = sqrt(float(spread @ (1 / both.n).sum(axis=1)))
    control, treatment = (weights @ both.mean).tolist()
    return _normal(control, treatment, error, alpha)


def _normal(control: float, treatment: float, error: float, alpha: float) -> Comparison:
    difference, half = treatment - control, -float(special.ndtri(alpha / 2)) * error
    z = difference / error
    return Comparison(
        difference=difference,
        standard_error=error,
        statistic=z,
        p_value=normal_p_value(z),
        z=z,
        lower=difference - half,
        upper=difference + half,
        lift=relative_lift(control, treatment),
    )
