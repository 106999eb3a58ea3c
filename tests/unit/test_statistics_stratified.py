"""Arms whose shares change from epoch to epoch are compared within the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from statsmodels.stats.contingency_tables import StratifiedTable

from tasks.errors import InputError
from tasks.experiments.statistics.lift import lift_of_means, lift_of_proportions
from tasks.experiments.statistics.means import welch
from tasks.experiments.statistics.moments import (
    EMPTY,
    Proportion,
    SampleMean,
    as_proportion,
    sample_mean,
)
from tasks.experiments.statistics.non_inferiority import non_inferiority
from tasks.experiments.statistics.proportions import compare_proportions
from tasks.experiments.statistics.ratios import joint_moments, ratio_of_means
from tasks.experiments.statistics.strata import merging, strata_of
from tasks.experiments.statistics.stratified import stratify
from tasks.experiments.statistics.stratified_joint import stratify_joint

Floats = NDArray[np.float64]
Rows = list[list[Floats]]

UNITS = ((40, 60), (30, 90), (9, 120))  # of control and treatment in three epochs
TRAFFIC = (150, 200, 250)  # with other arms


def rate(n: int, successes: int) -> SampleMean:
    return SampleMean(n, successes / n, successes * (1 - successes / n)) if n else EMPTY


@pytest.fixture(scope="module")
def rows() -> Rows:
    """Values of units: epochs × arms. The mood rises, the effect is 0.5, spreads differ."""
    rng = np.random.default_rng(5)
    return [
        [rng.normal(3 + epoch + 0.5 * arm, 1 + arm, n) for arm, n in enumerate(units)]
        for epoch, units in enumerate(UNITS)
    ]


def test_pooled_arms_differ_by_the_mood_alone_and_stratified_ones_do_not() -> None:
    control, treatment = [rate(100, 10), rate(10, 3)], [rate(100, 10), rate(190, 57)]
    pooled = compare_proportions(Proportion(110, 13), Proportion(290, 67))
    assert pooled.is_significant()
    found = stratify(control, treatment, [200, 200], is_rate=True)
    assert found.effect.difference == pytest.approx(0, abs=1e-12)
    assert found.test.z == pytest.approx(0, abs=1e-12)
    assert found.lift.lift == pytest.approx(0, abs=1e-12)


def test_the_effect_is_that_of_a_regression_on_all_cells_weighted_by_traffic(
    rows: Rows,
) -> None:
    """Independent route: unit rows, a dummy for every cell, HC2 errors."""
    cells = [
        (values, 2 * epoch + arm)
        for epoch, arms in enumerate(rows)
        for arm, values in enumerate(arms)
    ]
    y = np.concatenate([values for values, _ in cells])
    column = np.concatenate([np.full(len(values), number) for values, number in cells])
    fit = sm.OLS(y, np.eye(6)[column]).fit(cov_type="HC2")
    control, treatment = ([sample_mean(epoch[arm]) for epoch in rows] for arm in (0, 1))
    found = stratify(control, treatment, TRAFFIC)
    shares = np.array(TRAFFIC) / sum(TRAFFIC)
    expected = fit.t_test(np.kron(shares, [-1, 1]))
    assert found.effect.difference == pytest.approx(expected.effect[0])
    assert found.effect.standard_error == pytest.approx(expected.sd[0, 0])
    assert (found.traffic, found.strata) == (600, 3)


def test_means_are_tested_as_if_units_had_been_dealt_out_anew_within_their_epochs(
    rows: Rows,
) -> None:
    """Independent route: 4,000 permutations."""
    n_c, n_t = np.array(UNITS).T
    weights = np.sqrt(np.array(TRAFFIC) * n_c * n_t / (n_c + n_t))
    weights /= weights.sum()
    same = [[arms[0], (arms[1] - 0.5 - arms[1].mean()) / 2 + arms[0].mean()] for arms in rows]
    rng = np.random.default_rng(6)

    def difference(epochs: list[Floats]) -> float:
        gaps = [units[n:].mean() - units[:n].mean() for units, n in zip(epochs, n_c, strict=True)]
        return float(weights @ gaps)

    joined = [np.concatenate(arms) for arms in same]
    dealt = [difference([rng.permutation(units) for units in joined]) for _ in range(4_000)]
    control, treatment = ([sample_mean(epoch[arm]) for epoch in same] for arm in (0, 1))
    found = stratify(control, treatment, TRAFFIC).test
    assert found.difference == pytest.approx(difference(joined))
    assert found.standard_error == pytest.approx(np.std(dealt), rel=0.05)


def test_an_arm_that_scatters_more_is_not_tested_with_the_spread_of_the_other() -> None:
    control = [SampleMean(n, 5.0, 9.0 * (n - 1)) for n in (40, 30)]
    treatment = [SampleMean(n, 5.2, 1.0 * (n - 1)) for n in (400, 900)]
    found = stratify(control, treatment, [440, 930]).test
    weights = np.sqrt([440 * 40 * 400 / 440, 930 * 30 * 900 / 930])
    weights /= weights.sum()
    own = sqrt(weights**2 @ [9 / 40 + 1 / 400, 9 / 30 + 1 / 900])
    assert found.standard_error == pytest.approx(own, rel=0.01)


def test_its_degrees_of_freedom_are_those_of_satterthwaite_over_all_cells(
    rows: Rows,
) -> None:
    control, treatment = ([sample_mean(epoch[arm]) for epoch in rows] for arm in (0, 1))
    shares = np.array(TRAFFIC)[:, None] / sum(TRAFFIC)
    variances = shares**2 * [[values.var(ddof=1) / len(values) for values in arms] for arms in rows]
    dof = variances.sum() ** 2 / (variances**2 / (np.array(UNITS) - 1)).sum()
    found = stratify(control, treatment, TRAFFIC)
    assert found.effect.dof is not None
    assert dof - 2 <= found.effect.dof <= dof
    worse = non_inferiority(found.control, found.treatment, 0.1)
    assert worse.difference == found.effect.difference


def test_with_an_equal_split_rates_are_tested_as_mantel_and_haenszel_do() -> None:
    control, treatment = [(200, 20), (300, 60), (50, 25)], [(200, 34), (300, 71), (50, 22)]
    tables = [
        np.array([[x, n - x], [y, m - y]])
        for (m, y), (n, x) in zip(control, treatment, strict=True)
    ]
    expected = StratifiedTable(tables).test_null_odds(correction=False)
    found = stratify(
        [rate(*each) for each in control],
        [rate(*each) for each in treatment],
        [400, 600, 100],
        is_rate=True,
    ).test
    assert found.z is not None
    assert found.z**2 == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.difference == pytest.approx(found.z * (found.standard_error or 0))


@pytest.mark.parametrize(("few", "many"), [(3, 12), (120, 150), (0, 4)])
def test_one_epoch_alone_is_compared_as_ever(few: int, many: int) -> None:
    control, treatment = rate(1_000, few), rate(900, many)
    found = stratify([control], [treatment], [2_500], is_rate=True)
    rates = as_proportion(control), as_proportion(treatment)
    assert found.effect == found.test == compare_proportions(*rates)
    assert found.lift == lift_of_proportions(*rates)
    means = stratify([control], [treatment], [2_500])
    assert means.effect == means.test == welch(control, treatment)
    assert means.lift == lift_of_means(control, treatment)


def test_an_epoch_with_a_single_unit_in_an_arm_joins_the_next_one() -> None:
    units = [(5, 5), (1, 9), (0, 9), (1, 9), (7, 0), (3, 1)]
    starts = merging(np.array(units, dtype=float))
    assert starts == [0, 1]  # the last two never have 2 units in both
    control, treatment = ([sample_mean(range(each[arm])) for each in units] for arm in (0, 1))
    merged = strata_of(control, treatment, [20] * 6).merged()
    later = sum(treatment[2:], start=treatment[1])
    assert merged.n.tolist() == [[5, 5], [12, 28]]
    assert merged.mean[1, 1] == pytest.approx(later.mean)
    assert merged.m2[1, 1] == pytest.approx(later.m2)
    assert merged.traffic.tolist() == [20, 100]


def test_an_epoch_in_which_an_arm_was_not_on_offer_is_left_out() -> None:
    control, treatment = (
        [rate(50, 10), rate(80, 40), rate(60, 12)],
        [rate(50, 9), None, rate(60, 13)],
    )
    found = stratify(control, treatment, [100, 80, 120], is_rate=True)
    same = stratify(
        [control[0], control[2]], [treatment[0], treatment[2]], [100, 120], is_rate=True
    )
    assert found == same
    assert found.traffic == 220


@pytest.mark.parametrize("cells", [[], [EMPTY], [None, EMPTY], [EMPTY] * 3])
def test_without_units_nothing_is_known(cells: Sequence[SampleMean | None]) -> None:
    for is_rate in (True, False):
        found = stratify(cells, [rate(40, 4)] * len(cells), [50] * len(cells), is_rate=is_rate)
        assert found.effect.p_value is None
        assert found.test.p_value is None
        assert found.lift.lower is None


def test_too_few_conversions_for_the_normal_limit_are_never_significant() -> None:
    found = stratify([rate(90, 0)] * 2, [rate(10, 4)] * 2, [100] * 2, is_rate=True)
    assert found.test.p_value is None
    assert found.test.difference is None


def test_constants_that_were_added_up_are_never_significant() -> None:
    same = [SampleMean(100, 0.1 + 1e-17 * epoch, 1e-33) for epoch in range(3)]
    other = [SampleMean(100, 0.1 + 3e-17, 2e-33)] * 3
    found = stratify(same, other, [200] * 3)
    assert found.test.p_value is None
    assert found.effect.p_value is None


@pytest.mark.parametrize("huge", [1e160, -1e200, 1e308])
def test_figures_that_doubles_cannot_hold_are_never_significant(huge: float) -> None:
    cells = [SampleMean(50, huge, abs(huge)), SampleMean(60, 1.0, 1e308)]
    for count in (1, 2):
        found = stratify(cells[:count], cells[::-1][:count], [200] * count)
        assert not found.test.is_significant(1e-9)
        assert found.lift.method == "none"


def test_traffic_below_the_units_of_the_two_arms_is_refused() -> None:
    with pytest.raises(InputError, match="count the units of all arms"):
        stratify([rate(50, 5)], [rate(51, 5)], [100])


def test_a_ratio_over_epochs_is_that_of_the_weighted_means() -> None:
    rng = np.random.default_rng(8)
    views = [rng.poisson(4 + epoch, 300) + 1.0 for epoch in range(3)]
    clicks = [rng.binomial(each.astype(int), 0.3) + 0.0 for each in views]
    cells = [joint_moments(zip(*each, strict=True)) for each in zip(clicks, views, strict=True)]
    arms = stratify_joint(cells, cells[::-1], [1_000, 700, 800])
    assert arms is not None
    found = ratio_of_means(arms.effect[0])
    weights = np.array([0.4, 0.28, 0.32])
    clicked, viewed = (weights @ [each.mean() for each in of] for of in (clicks, views))
    ratio = clicked / viewed
    # The delta method on unit rows: each unit's part in the ratio, epoch by epoch.
    parts = [(c - ratio * v) / viewed for c, v in zip(clicks, views, strict=True)]
    error = sqrt(sum(w**2 * part.var(ddof=1) / 300 for w, part in zip(weights, parts, strict=True)))
    assert found.value == pytest.approx(ratio)
    assert sqrt(found.variance / found.n) == pytest.approx(error)


def test_joint_moments_are_merged_and_weighed_as_their_values_are(rows: Rows) -> None:
    arms = [
        [joint_moments((x, x * x) for x in epoch[arm].tolist()) for epoch in rows] for arm in (0, 1)
    ]
    control, treatment = ([*arm[:2], joint_moments([(3.0, 9.0)]), arm[2]] for arm in arms)
    traffic = [150, 200, 40, 250]
    found = stratify_joint([*control, None], [*treatment, arms[1][0]], [*traffic, 90])
    expected = stratify(
        [each.value for each in control], [each.value for each in treatment], traffic
    )
    assert found is not None
    assert (found.traffic, found.strata) == (expected.traffic, expected.strata) == (640, 3)
    values = [arm.value.mean for arm in found.effect]
    assert values == pytest.approx([expected.control.value, expected.treatment.value])
    values_of = [[each.value for each in arm] for arm in (control, treatment)]
    strata = strata_of(values_of[0], values_of[1], traffic).merged()
    tested = strata.test_weights @ strata.mean
    assert [arm.value.mean for arm in found.test] == pytest.approx(tested.tolist())
    single = stratify_joint(control[:1], treatment[:1], [150])
    assert single is not None
    assert single.effect == single.test == (control[0], treatment[0])
    assert stratify_joint([None], [None], [10]) is None


counts = st.tuples(st.integers(0, 60), st.integers(0, 60))


@given(st.lists(st.tuples(counts, counts, st.integers(0, 500)), max_size=8), st.booleans())
def test_no_counts_make_it_fail_or_significant_out_of_nothing(
    epochs: list[tuple[tuple[int, int], tuple[int, int], int]], is_rate: bool
) -> None:
    control = [rate(n, min(x, n)) for (n, x), _, _ in epochs]
    treatment = [rate(n, min(x, n)) for _, (n, x), _ in epochs]
    traffic = [a.n + b.n + more[2] for a, b, more in zip(control, treatment, epochs, strict=True)]
    found = stratify(control, treatment, traffic, is_rate=is_rate)
    for comparison in (found.effect, found.test):
        assert comparison.p_value is None or 0 <= comparison.p_value <= 1
        assert not (comparison.standard_error is None and comparison.is_significant())
    assert found.traffic <= sum(traffic)
