"""Segments whose effects differ, and experiments that change each other's effect."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, sqrt

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.stats.oneway import anova_oneway

from tasks.errors import InputError
from tasks.experiments.statistics.estimates import Estimate, compare, of_mean, of_proportion
from tasks.experiments.statistics.factorial_designs import Cell
from tasks.experiments.statistics.heterogeneity import cochran_q, heterogeneity
from tasks.experiments.statistics.moments import Proportion, sample_mean
from tasks.experiments.statistics.multiplicity import holm
from tasks.experiments.statistics.overlaps import Overlap, additivity, independence, scan

Floats = NDArray[np.float64]
RUNS = 1_500


def rate(n: int, successes: int) -> Estimate:
    return of_proportion(Proportion(n, successes))


def arms(*counts: int, n: int = 1_000) -> dict[str, Estimate]:
    """A control and treatments a, b, … by their conversions."""
    names = ("control", "a", "b", "c")
    return {name: rate(n, count) for name, count in zip(names, counts, strict=False)}


def test_cochrans_q_is_that_of_statsmodels() -> None:
    effects, errors = np.array([0.3, 0.1, -0.2, 0.5]), np.array([0.1, 0.2, 0.15, 0.3])
    expected = combine_effects(effects, errors**2, method_re="dl")
    q, p_value = cochran_q(effects.tolist(), errors.tolist(), [inf] * 4)
    assert q == pytest.approx(expected.q)
    assert p_value == pytest.approx(stats.chi2.sf(expected.q, 3))


def test_far_tails_of_heterogeneity_are_not_zero() -> None:
    for dof in (1e3, 1e9, inf):
        _, p_value = cochran_q([0.0, 30.0], [1.0, 1.0], [dof, dof])
        assert 0 < p_value < 1e-89


def test_estimated_errors_make_it_welchs_analysis_of_variance() -> None:
    """Groups are effects with an error and n - 1 degrees of freedom."""
    rng = np.random.default_rng(5)
    groups = [rng.normal(0.3 * k, 1 + k, 8 + 5 * k) for k in range(4)]
    expected = anova_oneway(groups, use_var="unequal", welch_correction=True)
    _, p_value = cochran_q(
        [float(each.mean()) for each in groups],
        [float(each.std(ddof=1)) / sqrt(len(each)) for each in groups],
        [len(each) - 1 for each in groups],
    )
    assert p_value == pytest.approx(expected.pvalue)


@pytest.mark.parametrize(("levels", "units"), [(20, 30), (5, 5_000)])
def test_many_small_levels_err_no_more_often_than_few_large_ones(levels: int, units: int) -> None:
    """By chi-square 6.9 % of those with 30 units would differ (100,000 draws: 5.1 % by F)."""
    rng, runs = np.random.default_rng(51), 4_000
    effects = rng.normal(0, sqrt(2 / units), (runs, levels))
    arms = rng.chisquare(units - 1, (2, runs, levels)) / (units - 1) / units
    errors = np.sqrt(arms.sum(axis=0))
    dofs = errors**4 * (units - 1) / (arms**2).sum(axis=0)
    rows = zip(effects.tolist(), errors.tolist(), dofs.tolist(), strict=True)
    found = sum(cochran_q(*row)[1] <= 0.05 for row in rows) / runs
    assert found == pytest.approx(0.05, abs=3 * sqrt(0.05 * 0.95 / runs))


def test_a_dimension_whose_segments_differ_is_told_from_one_whose_do_not() -> None:
    found = heterogeneity(
        {
            "device": {"phone": arms(100, 160), "desktop": arms(100, 60)},
            "country": {"at": arms(100, 112), "ch": arms(100, 109), "de": arms(100, 108)},
        },
        "control",
    )
    device, country = found.tests
    assert (device.dimension, device.arm, device.dof, country.dof) == ("device", "a", 1, 2)
    assert (device.p_adjusted or 1) < 1e-4
    assert (country.p_adjusted or 0) > 0.5
    raw = [device.p_value or 0, country.p_value or 0]
    assert [device.p_adjusted, country.p_adjusted] == pytest.approx(holm(raw))


def test_effects_by_level_share_one_error_within_their_dimension() -> None:
    levels = {"phone": arms(100, 160, 105), "desktop": arms(100, 130, 98)}
    found = heterogeneity({"device": levels, "day": {"mon": arms(90, 99)}}, "control", 0.1)
    device = [effect for effect in found.effects if effect.dimension == "device"]
    assert [(effect.level, effect.arm) for effect in device] == [
        ("phone", "a"),
        ("phone", "b"),
        ("desktop", "a"),
        ("desktop", "b"),
    ]
    for effect in device:
        level = levels[effect.level]
        assert effect.comparison == compare(level["control"], level[effect.arm], 0.1)
    raw = [effect.comparison.p_value or 0 for effect in device]
    assert [effect.p_adjusted for effect in device] == pytest.approx(holm(raw))


def test_small_or_empty_segments_are_left_out_by_name_and_are_never_significant() -> None:
    levels = {
        "large": arms(100, 110),
        "also large": arms(100, 120),
        "small": arms(5, 6, n=60),
        "without an arm": {"control": rate(500, 50)},
        "without a conversion": arms(0, 0),
    }
    found = heterogeneity({"plan": levels}, "control")
    (test,) = found.tests
    assert test.dof == 1
    assert test.left_out == ("small", "without an arm", "without a conversion")
    assert [effect.p_adjusted for effect in found.effects[3:]] == [None, None]
    (alone,) = heterogeneity({"plan": {"large": levels["large"]}}, "control").tests
    assert (alone.q, alone.p_value, alone.p_adjusted, alone.dof) == (None, None, None, 0)


def test_segments_without_a_difference_hardly_ever_show_one() -> None:
    """Three dimensions, two treatments, 18 effects: the family error of the tests is alpha."""
    rng = np.random.default_rng(11)
    runs, shown, effects = 200, 0, 0
    for _ in range(runs):
        drawn = {
            dimension: {
                str(level): {
                    name: rate(n, int(rng.binomial(n, 0.08))) for name in ("control", "a", "b")
                }
                for level, n in enumerate(sizes)
            }
            for dimension, sizes in (("x", (300, 900)), ("y", (200, 300, 700)), ("z", (250,) * 4))
        }
        found = heterogeneity(drawn, "control")
        shown += any((test.p_adjusted or 1) <= 0.05 for test in found.tests)
        effects += any((e.p_adjusted or 1) <= 0.05 for e in found.effects if e.dimension == "z")
    most = 0.05 + 2 * sqrt(0.05 * 0.95 / runs)
    assert shown / runs <= most
    assert effects / runs <= most


def overlap(values: Sequence[Sequence[Floats]]) -> Overlap:
    """From unit rows, first arms × second arms."""
    first, second = ("off", "on", "more")[: len(values)], ("x", "y", "z")[: len(values[0])]
    cells: dict[Cell, Estimate] = {
        (a, b): of_mean(sample_mean(values[i][j]))
        for i, a in enumerate(first)
        for j, b in enumerate(second)
    }
    return Overlap("banner", "price", first, second, cells)


def drawn(rows: int, columns: int, seed: int, *, extra: float = 0.0) -> list[list[Floats]]:
    rng = np.random.default_rng(seed)
    values = [
        [rng.normal(5 + i - j, 2, int(rng.integers(150, 400))) for j in range(columns)]
        for i in range(rows)
    ]
    values[-1][-1] += extra
    return values


def test_two_by_two_is_the_difference_of_differences() -> None:
    values = drawn(2, 2, seed=1, extra=0.8)
    (found,) = scan([overlap(values)])
    (off, on) = values
    expected = on[1].mean() - on[0].mean() - off[1].mean() + off[0].mean()
    error = sqrt(sum(each.var(ddof=1) / len(each) for row in values for each in row))
    assert list(found.differences) == [("on", "y")]
    difference = found.differences["on", "y"]
    assert difference.difference == pytest.approx(expected)
    assert difference.standard_error == pytest.approx(error)
    assert found.additivity.chi2 == pytest.approx((expected / error) ** 2)
    assert found.additivity.p_value == pytest.approx(stats.chi2.sf((expected / error) ** 2, 1))


def test_larger_tables_are_tested_as_a_regression_tests_its_interaction_terms() -> None:
    """Independent route: Wald's test of all interaction terms with HC2 errors on unit rows."""
    values = drawn(3, 2, seed=2, extra=0.7)
    y = np.concatenate([each for row in values for each in row])
    sizes = [len(each) for row in values for each in row]
    i, j = (np.repeat(each, sizes) for each in ([0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1]))
    terms = np.column_stack(
        [np.ones(len(y)), i == 1, i == 2, j == 1, (i == 1) & (j == 1), (i == 2) & (j == 1)]
    ).astype(float)
    fit = sm.OLS(y, terms).fit(cov_type="HC2")
    expected = fit.wald_test(np.eye(6)[4:], use_f=False, scalar=True)
    (found,) = scan([overlap(values)])
    assert found.additivity.dof == 2
    assert found.additivity.chi2 == pytest.approx(float(expected.statistic), rel=1e-6)
    assert set(found.differences) == {("on", "y"), ("more", "y")}


def test_assignments_that_depend_on_each_other_show() -> None:
    counts = np.array([[500.0, 520.0, 480.0], [510.0, 505.0, 620.0]])
    expected = stats.chi2_contingency(counts, correction=False)
    found = independence(counts)
    assert found.chi2 == pytest.approx(expected.statistic)
    assert found.dof == expected.dof
    assert found.p_value == pytest.approx(expected.pvalue)


def test_all_pairs_share_one_error() -> None:
    pairs = [overlap(drawn(2, 2, seed, extra=0.4)) for seed in range(3, 7)]
    found = scan(pairs)
    for tests in ([each.additivity for each in found], [each.independence for each in found]):
        raw = [test.p_value or 0 for test in tests]
        assert [test.p_adjusted for test in tests] == pytest.approx(holm(raw))


def test_an_overlap_with_a_small_or_missing_cell_is_unknown() -> None:
    values = drawn(2, 2, seed=9)
    small = overlap([values[0], [values[1][0], values[1][1][:50]]])
    missing = Overlap("a", "b", ("off", "on"), ("x", "y"), {("off", "x"): Estimate(400, 1, 1)})
    of_small, of_missing = scan([small, missing])
    assert of_small.additivity.p_value is None
    assert of_small.differences["on", "y"].p_value is not None
    assert of_missing.additivity.p_adjusted is None
    assert of_missing.independence.p_value is None
    assert of_missing.differences["on", "y"].difference is None
    with pytest.raises(InputError, match="no cell"):
        scan([Overlap("a", "b", ("off", "on"), ("x", "y"), {("off", "z"): Estimate(9, 1, 1)})])


def test_figures_that_doubles_cannot_hold_are_unknown() -> None:
    huge, level = Estimate(900, 1e200, 1e300), arms(100, 120)
    cells: dict[Cell, Estimate] = {
        ("off", "x"): huge,
        ("off", "y"): huge,
        ("on", "x"): huge,
        ("on", "y"): huge,
    }
    (found,) = scan([Overlap("a", "b", ("off", "on"), ("x", "y"), cells)])
    assert found.additivity.p_value is None
    dimension = {"x": {"control": huge, "a": huge}, "y": level, "z": arms(90, 100)}
    (test,) = heterogeneity({"d": dimension}, "control").tests
    assert test.left_out == ("x",)


def test_effects_that_add_up_are_hardly_ever_called_an_interaction() -> None:
    rng = np.random.default_rng(12)
    means = np.add.outer([0.1, 0.13, 0.11], [0.0, 0.04])
    n = np.array([[400, 700], [900, 400], [500, 800]])
    found = 0
    for _ in range(RUNS):
        values = rng.binomial(n, means) / n
        p_value = additivity(values, values * (1 - values) / n).p_value
        found += p_value is not None and p_value <= 0.05
    assert found / RUNS == pytest.approx(0.05, abs=3 * sqrt(0.05 * 0.95 / RUNS))
