"""One array core compares means, ratios, quantiles and adjusted means."""

from __future__ import annotations

from math import nan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tasks.experiments.statistics.comparison import Alternative
from tasks.experiments.statistics.cuped import adjust, compare_adjusted, lift_adjusted
from tasks.experiments.statistics.estimates import (
    Estimate,
    as_rows,
    compare,
    compare_many,
    of_mean,
    of_proportion,
)
from tasks.experiments.statistics.moments import Proportion
from tasks.experiments.statistics.non_inferiority import non_inferiority
from tasks.experiments.statistics.quantiles import quantile_estimate, quantile_ranks
from tasks.experiments.statistics.ranks import mann_whitney
from tasks.experiments.statistics.ratios import joint_moments, ratio_of_means

pairs = st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), max_size=20)
arm = st.builds(
    Estimate,
    st.integers(0, 10**9),
    st.sampled_from([nan, 0.0, -3.0, 1e-300, 0.1, 5.0, 1e12]),
    st.sampled_from([nan, 0.0, 1e-300, 0.09, 4.0, 1e24]),
)


def test_many_comparisons_at_once_are_those_one_by_one() -> None:
    rng = np.random.default_rng(3)
    arms = [
        [Estimate(int(n), m, v) for n, m, v in rng.uniform((2, -5, 0), (900, 5, 9), (50, 3))]
        for _ in range(2)
    ]
    together = compare_many(as_rows(arms[0]), as_rows(arms[1]))
    for index, (control, treatment) in enumerate(zip(*arms, strict=True)):
        assert together.row(index) == compare(control, treatment)


@pytest.mark.parametrize("alternative", ["two-sided", "larger", "smaller"])
def test_a_comparison_agrees_with_scipy(alternative: Alternative) -> None:
    found = compare(Estimate(40, 3.0, 4.0), Estimate(25, 3.9, 2.0), alternative=alternative)
    statistic = stats.ttest_ind_from_stats(3.9, sqrt(2.0), 25, 3.0, 2.0, 40, False).statistic
    assert found.statistic == pytest.approx(statistic)
    assert found.dof is not None
    above = float(stats.t.sf(float(statistic), found.dof))
    expected = {"larger": above, "smaller": 1 - above, "two-sided": 2 * above}
    assert found.p_value == pytest.approx(expected[alternative])


@given(arm, arm, st.booleans())
def test_no_arm_makes_a_comparison_fail_or_significant_out_of_nothing(
    control: Estimate, treatment: Estimate, is_relative: bool
) -> None:
    found = compare(control, treatment, is_relative=is_relative)
    if found.p_value is not None:
        assert 0 <= found.p_value <= 1
        assert found.z is not None
        assert min(control.n, treatment.n) >= 2
    assert not (found.standard_error is None and found.is_significant())


@given(pairs, pairs)
def test_joint_moments_merge_like_all_values_together(
    first: list[tuple[float, float]], second: list[tuple[float, float]]
) -> None:
    merged, whole = joint_moments(first) + joint_moments(second), joint_moments(first + second)
    assert merged.n == whole.n
    assert merged.co_m2 == pytest.approx(whole.co_m2, rel=1e-9, abs=1e-4)
    assert merged.other_mean == pytest.approx(whole.other_mean, rel=1e-9, abs=1e-9)


def test_the_error_of_a_ratio_is_that_of_repeated_samples() -> None:
    rng = np.random.default_rng(11)
    views = rng.poisson(5, (4000, 400)) + 1
    clicks = rng.binomial(views, 0.1)
    ratios = clicks.sum(axis=1) / views.sum(axis=1)
    one = ratio_of_means(joint_moments(zip(clicks[0].tolist(), views[0].tolist(), strict=True)))
    assert sqrt(one.variance / one.n) == pytest.approx(ratios.std(), rel=0.1)
    assert ratio_of_means(joint_moments([(1.0, 0.0), (2.0, 0.0)])).n == 2


def test_a_covariate_takes_out_what_it_explains() -> None:
    rng = np.random.default_rng(5)
    rho, n = 0.8, 20_000
    before = rng.normal(10, 3, (2, n))
    after = 4 + rho * before + rng.normal(0, 3 * sqrt(1 - rho**2), (2, n))
    arms = [joint_moments(zip(*pair, strict=True)) for pair in zip(after, before, strict=True)]
    plain = compare(of_mean(arms[0].value), of_mean(arms[1].value))
    adjusted = compare_adjusted(arms[0], arms[1])
    assert plain.standard_error is not None
    ratio = (adjusted.standard_error or 0.0) / plain.standard_error
    assert ratio == pytest.approx(sqrt(1 - rho**2), rel=0.02)
    assert adjust(arms[0], arms[1]).correlation == pytest.approx(rho, abs=0.01)


def test_the_adjusted_lift_covers_no_lift_as_often_as_it_says() -> None:
    rng = np.random.default_rng(8)
    runs, held = 800, 0
    for _ in range(runs):
        before = rng.gamma(2, 2, (2, 150))
        after = before + rng.normal(3, 2, (2, 150))
        arms = [joint_moments(zip(*pair, strict=True)) for pair in zip(after, before, strict=True)]
        found = lift_adjusted(arms[0], arms[1])
        held += (found.lower or 0.0) <= 0 <= (found.upper or 0.0)
    assert held / runs == pytest.approx(0.95, abs=4 * sqrt(0.95 * 0.05 / runs))


def test_without_a_covariate_that_varies_nothing_is_adjusted() -> None:
    arms = [joint_moments([(x, 0.0) for x in values]) for values in ([1.0, 2, 4], [2.0, 3, 7])]
    assert adjust(arms[0], arms[1]).theta == 0.0
    assert compare_adjusted(arms[0], arms[1]).difference == pytest.approx(4 - 7 / 3)
    assert lift_adjusted(joint_moments([]), arms[1]).p_value is None


def test_the_error_of_a_quantile_is_that_of_repeated_samples() -> None:
    rng = np.random.default_rng(2)
    n, nu = 2000, 0.9
    samples = np.sort(rng.exponential(10, (3000, n)), axis=1)
    ranks = quantile_ranks(n, nu)
    assert ranks is not None
    lower, upper = (samples[:, rank - 1] for rank in ranks)
    spread = float(np.quantile(samples, nu, axis=1).std())
    errors = [
        sqrt(quantile_estimate(n, 0.0, low, high).variance / n)
        for low, high in zip(lower[:200], upper[:200], strict=True)
    ]
    assert float(np.mean(errors)) == pytest.approx(spread, rel=0.05)
    assert quantile_ranks(5, 0.99) is None


def test_ranks_of_equal_values_say_nothing() -> None:
    found = mann_whitney([1.0, 1.0], [1.0, 1.0])
    assert found.superiority == 0.5
    assert found.p_value in {None, 1.0}
    assert mann_whitney([], [1.0]).p_value is None


def test_a_guardrail_is_proven_only_within_its_margin() -> None:
    control, same = of_proportion(Proportion(50_000, 5000)), of_proportion(Proportion(50_000, 4990))
    assert non_inferiority(control, same, 0.05, is_relative=True, is_normal=True).is_proven()
    assert not non_inferiority(control, same, 0.0, is_relative=True, is_normal=True).is_proven()
    lower_is_better = non_inferiority(control, same, 0.05, is_higher_better=False, is_relative=True)
    assert lower_is_better.is_proven()
    assert lower_is_better.limit == pytest.approx(-0.0002 + 1.645 * 0.0019, abs=1e-4)
    unknown = non_inferiority(of_proportion(Proportion(0, 0)), same, 0.05)
    assert not unknown.is_proven()
