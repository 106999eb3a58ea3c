"""Lift and difference intervals: the published figures, other libraries, and the edges."""

from __future__ import annotations

from math import isclose, sqrt
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from benchmarks.coverage import Rates, coverage_of_rates
from tasks.experiments.statistics.comparison import Alternative
from tasks.experiments.statistics.estimates import Estimate, compare, of_mean
from tasks.experiments.statistics.lift import (
    fieller_lift,
    lift_of_means,
    lift_of_proportions,
)
from tasks.experiments.statistics.moments import EMPTY, Proportion, SampleMean
from tasks.experiments.statistics.proportions import compare_proportions, fisher_exact
from tasks.experiments.statistics.scores import score_difference, score_ratio

counts = st.integers(0, 40)


def test_an_end_of_fiellers_interval_is_a_ratio_that_the_test_just_rejects() -> None:
    control, treatment = Estimate(400, 5.0, 30.0), Estimate(300, 5.4, 44.0)
    found = fieller_lift(control, treatment)
    for end in (found.lower, found.upper):
        assert end is not None
        ratio = 1 + end
        error = sqrt(treatment.variance / treatment.n + ratio**2 * control.variance / control.n)
        z = (treatment.value - ratio * control.value) / error
        assert abs(z) == pytest.approx(-special.ndtri(0.025))


def test_from_a_control_below_zero_more_is_still_a_positive_lift() -> None:
    below = lift_of_means(SampleMean(5000, -2.0, 20_000.0), SampleMean(5000, -1.8, 20_000.0))
    assert below.lift == pytest.approx(0.1)
    assert below.lower is not None
    assert below.upper is not None
    assert below.lower < 0.1 < below.upper
    mirrored = lift_of_means(SampleMean(5000, 2.0, 20_000.0), SampleMean(5000, 1.8, 20_000.0))
    assert (below.lower, below.upper) == pytest.approx(
        (-(mirrored.upper or 0.0), -(mirrored.lower or 0.0))
    )


def test_a_control_that_may_be_zero_leaves_the_lift_without_ends() -> None:
    found = fieller_lift(Estimate(100, 0.1, 4.0), Estimate(100, 0.5, 4.0))
    assert found.lift == pytest.approx(4.0)
    assert (found.lower, found.upper, found.method) == (None, None, "none")


def test_without_conversions_in_the_control_the_lift_has_a_lower_end() -> None:
    found = lift_of_proportions(Proportion(1000, 0), Proportion(1000, 10))
    assert found.lift is None
    assert found.lower is not None
    assert found.lower > 0
    assert found.upper is None
    nothing = lift_of_proportions(Proportion(1000, 0), Proportion(1000, 0))
    assert (nothing.lower, nothing.upper) == (-1.0, None)


@given(counts, counts, counts, counts)
def test_any_counts_have_a_lift_interval_around_the_lift(
    n1: int, s1: int, n2: int, s2: int
) -> None:
    control, treatment = Proportion(n1, min(s1, n1)), Proportion(n2, min(s2, n2))
    found = lift_of_proportions(control, treatment)
    if found.lift is not None and found.lower is not None:
        assert found.lower - 1e-6 <= found.lift
        assert found.upper is None or found.lift <= found.upper + 1e-6
    interval = score_difference(control, treatment)
    assert (interval is None) == (n1 == 0 or n2 == 0)
    if interval is not None:
        assert -1 <= interval[0] <= interval[1] <= 1


def test_a_billion_units_an_arm_are_compared_too() -> None:
    control, treatment = Proportion(10**9, 10**8), Proportion(10**9, 10**8 + 30_000)
    lift = lift_of_proportions(control, treatment)
    assert (lift.lower, lift.upper) == pytest.approx((3.702e-5, 5.6305e-4), rel=1e-3)
    assert score_ratio(control, treatment) == pytest.approx((1.00003702, 1.00056305))


def test_the_score_difference_is_the_published_one() -> None:
    # Newcombe (1998), table II, example (a), method 6: 56/70 against 48/80.
    found = score_difference(Proportion(80, 48), Proportion(70, 56))
    assert found == pytest.approx((0.0528, 0.3382), abs=5e-5)


@pytest.mark.parametrize("delta", [-0.3, -0.05, 0.0, 0.1])
def test_its_restricted_rates_are_the_most_likely_ones(delta: float) -> None:
    from tasks.experiments.statistics.scores import _rate_given_difference

    control, treatment = Proportion(70, 56), Proportion(80, 48)
    rates = np.linspace(max(0, -delta) + 1e-4, min(1, 1 - delta) - 1e-4, 20_001)
    likelihood = stats.binom.logpmf(56, 70, rates) + stats.binom.logpmf(48, 80, rates + delta)
    best = float(rates[np.argmax(likelihood)])
    assert _rate_given_difference(control, treatment, delta, False) == pytest.approx(best, abs=1e-4)


def test_the_score_ratio_agrees_with_statsmodels() -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    ours = score_ratio(Proportion(410, 39), Proportion(400, 12))
    theirs = proportion.confint_proportions_2indep(
        12, 400, 39, 410, method="score", compare="ratio"
    )
    assert ours == pytest.approx(theirs, rel=1e-6)


def test_small_counts_are_compared_exactly() -> None:
    control, treatment = Proportion(20, 0), Proportion(20, 6)
    found = compare_proportions(control, treatment)
    table = np.array([[6, 14], [0, 20]])
    exact = stats.fisher_exact(table).pvalue
    assert found.p_value == pytest.approx(exact)
    assert found.z is not None
    assert 2 * stats.norm.sf(found.z) == pytest.approx(exact)
    larger = fisher_exact(control, treatment, "larger")
    assert larger == pytest.approx(stats.fisher_exact(table, alternative="greater").pvalue)


@pytest.mark.parametrize("side", ["two-sided", "greater", "less"])
def test_the_exact_test_agrees_with_scipy(side: Literal["two-sided", "greater", "less"]) -> None:
    rng = np.random.default_rng(6)
    ours: dict[str, Alternative] = {"greater": "larger", "less": "smaller"}
    for n1, n2 in rng.integers(1, 60, (60, 2)).tolist():
        control = Proportion(n1, int(rng.integers(0, n1 + 1)))
        treatment = Proportion(n2, int(rng.integers(0, n2 + 1)))
        table = np.array([[a.successes, a.n - a.successes] for a in (treatment, control)])
        expected = stats.fisher_exact(table, alternative=side).pvalue
        assert fisher_exact(control, treatment, ours.get(side, "two-sided")) == pytest.approx(
            expected
        )


def test_a_few_conversions_of_a_billion_are_compared_at_once() -> None:
    assert fisher_exact(Proportion(10**9, 0), Proportion(10**9, 3)) == pytest.approx(0.25)
    far = compare_proportions(Proportion(10**9, 1000), Proportion(10**6, 1000))
    assert (far.p_value, far.z) == (0.0, 37.5)


def test_the_delta_method_has_its_known_error() -> None:
    control, treatment = SampleMean(3000, 10.0, 27_000.0), SampleMean(3000, 11.0, 27_000.0)
    found = compare(of_mean(control), of_mean(treatment), is_relative=True)
    error = sqrt(27_000 / 2999 / 3000 * (1 / 100 + 1.1**2 / 100))
    assert found.standard_error is not None
    assert isclose(found.standard_error, error)
    assert compare(of_mean(EMPTY), of_mean(treatment), is_relative=True).p_value is None


@pytest.mark.parametrize(
    ("arms", "most"),
    [
        (Rates(400, 0.0025, 400, 0.0025), 1.0),
        (Rates(40, 0.075, 40, 0.075), 1.0),
        (Rates(1_000, 0.005, 5_000, 0.005), 1.0),
        (Rates(400, 0.075, 400, 0.075), 0.96),
        (Rates(300, 0.1, 300, 0.2), 0.96),
    ],
    ids=["1 conversion", "3 of 40", "5 and 25", "30", "30 and 60"],
)
def test_the_intervals_hold_the_truth_as_often_as_they_say(arms: Rates, most: float) -> None:
    found = coverage_of_rates(arms)
    assert 0.94 <= found.lift <= most
    assert 0.94 <= found.difference <= most
