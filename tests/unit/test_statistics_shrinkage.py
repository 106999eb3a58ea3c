"""What many experiments really brought: the luck taken out of their effects."""

from __future__ import annotations

from math import inf, nan, sqrt

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

from tasks.experiments.statistics.comparison import Comparison
from tasks.experiments.statistics.shrinkage import (
    Effect,
    Prior,
    against_holdout,
    roll_up,
    variance_between,
)

# Coaching in eight schools (Rubin 1981): effects and their standard errors.
SCHOOLS = (28, 15), (8, 10), (-3, 16), (7, 11), (-1, 9), (1, 11), (18, 10), (12, 18)


def effects(*found: tuple[float, float]) -> list[Effect]:
    return [Effect(str(number), *each) for number, each in enumerate(found)]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_variance_of_true_effects_is_that_of_statsmodels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    errors = rng.uniform(0.1, 0.5, 12)
    values = rng.normal(0.2, 0.4, 12) + rng.normal(0, errors)
    expected = combine_effects(values, errors**2, method_re="dl")
    found = roll_up(effects(*zip(values.tolist(), errors.tolist(), strict=True)))
    assert variance_between(values, errors) == pytest.approx((expected.q, expected.tau2))
    assert found.variance == pytest.approx(expected.tau2)
    assert found.mean == pytest.approx(expected.mean_effect_re)
    assert found.p_value == pytest.approx(stats.chi2.sf(expected.q, 11))


def test_schools_that_differ_by_luck_are_drawn_together() -> None:
    """The spread of the eight is explained by luck alone: variance 0, mean 7.7."""
    found = roll_up(effects(*SCHOOLS))
    assert found.variance == 0
    assert found.mean == pytest.approx(7.7, abs=0.05)
    assert [each.shrinkage for each in found.effects] == pytest.approx([5 / 7] * 8)
    assert found.effects[0].value == pytest.approx(28 * 2 / 7 + (found.mean or 0) * 5 / 7)


def test_a_prior_is_weighed_against_each_effect_as_bayes_has_it() -> None:
    found = roll_up(effects((0.3, 0.1), (-0.1, 0.2)), prior=Prior(0.05, 0.04))
    for each in found.effects:
        precision = 1 / each.raw_error**2 + 1 / 0.04
        mean = (each.raw / each.raw_error**2 + 0.05 / 0.04) / precision
        assert each.value == pytest.approx(mean)
        assert each.standard_error == pytest.approx(precision**-0.5)
        assert (each.lower, each.upper) == pytest.approx(
            stats.norm.interval(0.95, mean, precision**-0.5)
        )
    assert found.total.value == pytest.approx(sum(each.value for each in found.effects))
    error = sqrt(sum(each.standard_error**2 for each in found.effects))
    assert found.total.standard_error == pytest.approx(error)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_fewer_than_four_experiments_cannot_tell_luck_and_stay_as_they_are(count: int) -> None:
    found = roll_up(effects(*SCHOOLS[:count]))
    assert [each.value for each in found.effects] == [each.raw for each in found.effects]
    assert found.total == found.raw_total
    assert (found.q is None) is (count == 1)


def test_unknown_effects_are_left_out_by_name() -> None:
    known = effects(*SCHOOLS)
    assert roll_up([Effect("exact", 1.0, 1e-50), *known]).total.value > 0
    unknown = [
        Effect("no data", None, None),
        Effect("no error", 0.4, 0.0),
        Effect("nan", nan, 0.1),
        Effect("endless", 0.1, inf),
    ]
    found = roll_up([*unknown[:2], *known, *unknown[2:]])
    assert found.left_out == ("no data", "no error", "nan", "endless")
    assert found.effects == roll_up(known).effects
    nothing = roll_up(unknown)
    assert (nothing.effects, nothing.mean, nothing.total.value) == ((), None, 0.0)


@pytest.mark.parametrize("spread", [0.0, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("count", [5, 12, 40])
def test_intervals_hold_the_truth_however_much_of_the_spread_is_luck(
    count: int, spread: float
) -> None:
    """Also those of the sum of what was launched: experiments that looked good."""
    rng = np.random.default_rng([count, int(10 * spread)])
    runs = 4_000 // count
    held, sums = [], []
    for _ in range(runs):
        errors = np.exp(rng.uniform(-0.7, 0.7, count))
        truth = rng.normal(0.2, spread, count)
        values = truth + rng.normal(0, errors)
        rows = zip(values.tolist(), errors.tolist(), strict=True)
        found = roll_up([Effect("", v, e, is_launched=v > 1.64 * e) for v, e in rows])
        held += [
            each.lower <= true <= each.upper
            for each, true in zip(found.effects, truth, strict=True)
        ]
        launched = float(truth[values > 1.64 * errors].sum())
        sums.append((found.raw_total.value - launched, found.total.value - launched))
    assert np.mean(held) >= 0.95 - 3 * sqrt(0.05 * 0.95 / len(held))
    raw, shrunken = np.mean(sums, axis=0)
    assert raw > 0
    assert abs(shrunken) < 0.75 * raw or spread > 1


def test_a_holdout_is_held_against_the_sum_of_what_was_launched() -> None:
    total = roll_up(effects(*[(0.1, 0.02)] * 5)).total
    holdout = Comparison(difference=0.2, standard_error=0.05)
    found = against_holdout(total, holdout)
    error = sqrt(0.05**2 + total.standard_error**2)
    assert found.difference == pytest.approx(0.2 - 0.5)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(0.3 / error))
    assert (found.lower, found.upper) == pytest.approx(stats.norm.interval(0.95, -0.3, error))
    assert found.lift == pytest.approx(-0.6)
    assert against_holdout(total, Comparison()) == Comparison()
