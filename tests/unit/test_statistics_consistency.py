"""Two independent routes to one number agree; and nothing breaks at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tasks.experiments.metrics import ArmMoments, metrics
from tasks.experiments.statistics.comparison import normal_deviate
from tasks.experiments.statistics.means import cohen_d, hedges_g, welch
from tasks.experiments.statistics.moments import (
    EMPTY,
    Proportion,
    SampleMean,
    as_proportion,
    mean_interval,
    sample_mean,
)
from tasks.experiments.statistics.multiplicity import holm
from tasks.experiments.statistics.proportions import (
    chi_square,
    compare_proportions,
    newcombe_interval,
)
from tasks.experiments.statistics.rates import wilson_interval
from tasks.experiments.statistics.srm import sample_ratio

values = st.lists(st.floats(-1e6, 1e6), max_size=30)


@given(values, values)
def test_merged_moments_are_those_of_all_values_together(
    first: list[float], second: list[float]
) -> None:
    merged, whole = sample_mean(first) + sample_mean(second), sample_mean(first + second)
    assert merged.n == whole.n
    assert merged.mean == pytest.approx(whole.mean, rel=1e-9, abs=1e-6)
    assert merged.m2 == pytest.approx(whole.m2, rel=1e-9, abs=1e-3)


def test_welch_agrees_with_statsmodels_and_scipy_on_raw_values() -> None:
    weightstats = pytest.importorskip("statsmodels.stats.weightstats")
    rng = np.random.default_rng(7)
    control, treatment = rng.normal(10, 3, 80), rng.lognormal(2.3, 0.4, 55)
    ours = welch(sample_mean(control), sample_mean(treatment))
    theirs = weightstats.CompareMeans.from_data(treatment, control)
    t, p_value, dof = theirs.ttest_ind(usevar="unequal")
    interval = theirs.tconfint_diff(usevar="unequal")
    assert (ours.statistic, ours.p_value, ours.dof) == pytest.approx((t, p_value, dof))
    assert (ours.lower, ours.upper) == pytest.approx(interval)
    assert ours.p_value == pytest.approx(stats.ttest_ind(treatment, control, equal_var=False)[1])


def test_the_pooled_z_squared_is_the_chi_square() -> None:
    control, treatment = Proportion(500, 40), Proportion(510, 61)
    compared = compare_proportions(control, treatment)
    table = chi_square([control, treatment])
    assert compared.z is not None
    assert table.statistic == pytest.approx(compared.z**2)
    assert table.p_value == pytest.approx(compared.p_value)


def test_newcombe_and_wilson_agree_with_statsmodels() -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    ours = newcombe_interval(Proportion(80, 48), Proportion(70, 56))
    theirs = proportion.confint_proportions_2indep(56, 70, 48, 80, method="newcomb")
    assert ours == pytest.approx(theirs)
    wilson = proportion.proportion_confint(3, 40, method="wilson")
    assert wilson_interval(Proportion(40, 3)) == pytest.approx(wilson)


@pytest.mark.parametrize(
    ("control", "treatment"),
    [
        (EMPTY, EMPTY),
        (EMPTY, SampleMean(5, 1.0, 2.0)),
        (SampleMean(1, 3.0, 0.0), SampleMean(50, 4.0, 49.0)),
        (SampleMean(40, 3.0, 0.0), SampleMean(40, 3.5, 0.0)),
        (SampleMean(40, 0.0, 0.0), SampleMean(40, 0.0, 0.0)),
        (SampleMean(40, 1.0, 0.0), SampleMean(40, 1.0, 0.0)),
    ],
    ids=["none", "empty control", "one unit", "constants", "zeros", "ones"],
)
@pytest.mark.parametrize("kind", ["mean", "proportion"])
def test_what_is_undefined_is_none_and_never_significant(
    kind: str, control: SampleMean, treatment: SampleMean
) -> None:
    compared = metrics.get("mean").compare(ArmMoments(control), ArmMoments(treatment), 0.05)
    assert compared.p_value is None
    assert compared.z is None
    assert not compared.is_significant()
    lower, upper = metrics.get(kind).interval(ArmMoments(EMPTY), 0.05)
    assert (lower, upper) in [(None, None), (0.0, 1.0)]


def test_constants_that_were_added_up_do_not_differ_by_their_rounding() -> None:
    # What Postgres makes of 100,000 and of 1,000 times 0.1.
    many = SampleMean(100_000, 0.1 + 1.885e-13, 9.25e-27 * 99_999)
    few = SampleMean(1_000, 0.1 - 1.4e-15, 4.74e-31 * 999)
    assert welch(few, many).z is None
    # Real values far from zero still do: a spread of 0.8 around a billion.
    near, far = SampleMean(1000, 1e9, 640.0), SampleMean(1000, 1e9 + 1, 640.0)
    assert welch(near, far).z == pytest.approx(25.6, abs=0.5)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_any_counts_of_conversions_can_be_compared(n1: int, s1: int, n2: int, s2: int) -> None:
    control, treatment = Proportion(n1, min(s1, n1)), Proportion(n2, min(s2, n2))
    compared = compare_proportions(control, treatment)
    assert (compared.p_value is None) == (compared.z is None)
    if compared.difference is not None and compared.lower is not None:
        assert compared.lower <= compared.difference <= (compared.upper or 0.0)
    low, high = wilson_interval(control)
    assert 0 <= low <= high <= 1


@given(
    st.integers(2, 1000), st.floats(-1e3, 1e3), st.floats(0, 1e6), st.integers(2, 1000),
    st.floats(-1e3, 1e3), st.floats(0, 1e6),
)  # fmt: skip
def test_any_moments_can_be_compared(
    n1: int, mean1: float, m2_1: float, n2: int, mean2: float, m2_2: float
) -> None:
    compared = welch(SampleMean(n1, mean1, m2_1), SampleMean(n2, mean2, m2_2))
    if compared.p_value is not None:
        assert 0 <= compared.p_value <= 1
        assert compared.z is not None
        assert np.isfinite(compared.z)


def test_far_tails_keep_their_p_value() -> None:
    compared = welch(SampleMean(100_000, 0.0, 1e5), SampleMean(100_000, 0.16, 1e5))
    assert compared.p_value == pytest.approx(1.4e-280, rel=0.2)
    assert compared.z == pytest.approx(35.72, abs=0.01)  # a little below t = 35.78
    beyond = welch(SampleMean(100_000, 0.0, 1e5), SampleMean(100_000, 5.0, 1e5))
    assert beyond.p_value == 0.0
    assert beyond.z == 37.5


def test_a_normal_deviate_has_the_p_value_it_came_from() -> None:
    z = normal_deviate(1e-200, -1.0)
    assert z is not None
    assert z < 0
    assert 2 * stats.norm.sf(-z) == pytest.approx(1e-200, rel=1e-6)
    assert normal_deviate(0.0, 1.0) is None
    assert normal_deviate(1.0, 1.0) == 0.0


def test_effect_sizes_are_none_without_variance() -> None:
    assert cohen_d(SampleMean(3, 1.0, 0.0), SampleMean(3, 2.0, 0.0)) is None
    assert hedges_g(EMPTY, EMPTY) is None


def test_counts_are_recovered_from_the_moments_of_zeros_and_ones() -> None:
    ones = sample_mean([1.0] * 37 + [0.0] * 63)
    assert as_proportion(ones) == Proportion(100, 37)


def test_the_interval_of_one_mean_agrees_with_scipy() -> None:
    sample = [1.0, 2.0, 4.0, 8.0]
    expected = stats.ttest_1samp(sample, 0).confidence_interval()
    assert mean_interval(sample_mean(sample)) == pytest.approx((expected.low, expected.high))


def test_traffic_in_an_arm_of_weight_zero_is_a_certain_mismatch() -> None:
    ratio = sample_ratio([500, 500, 1], [0.5, 0.5, 0.0])
    assert ratio.p_value == 0.0
    assert ratio.is_mismatch


@pytest.mark.parametrize(
    ("observed", "weights"), [([0, 0], [0.5, 0.5]), ([5], [1.0]), ([0, 0], [0.0, 0.0]), ([], [])]
)
def test_without_traffic_there_is_no_ratio_to_judge(
    observed: list[int], weights: list[float]
) -> None:
    ratio = sample_ratio(observed, weights)
    assert ratio.p_value is None
    assert not ratio.is_mismatch


def test_holm_keeps_the_order_given_and_never_decreases_with_rank() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]) == []
