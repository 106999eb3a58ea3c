"""What may be read at every look: confidence sequences, sequential SRM; and the posteriors."""

from __future__ import annotations

from math import exp, sqrt

import numpy as np
import pytest
from scipy import integrate, stats

from benchmarks.splits import alarms
from tasks.experiments.statistics.bayes import (
    Beta,
    beta_posterior,
    compare_betas,
    normal_posterior,
    scaled_prior,
)
from tasks.experiments.statistics.comparison import Comparison
from tasks.experiments.statistics.confidence_sequences import (
    NormalMixture,
    confidence_sequence,
    mixture_rho,
)
from tasks.experiments.statistics.estimates import compare, of_proportion
from tasks.experiments.statistics.moments import Proportion
from tasks.experiments.statistics.srm import SRM_ALPHA, sequential_ratio


def test_the_interval_excludes_zero_exactly_where_its_p_value_is_below_alpha() -> None:
    for z in np.linspace(0, 6, 61):
        found = confidence_sequence(Comparison(z * 0.1, 0.1), 4000, 0.05, 5000)
        assert found.lower is not None
        assert (found.lower > 0) == found.is_significant(0.05)


def test_its_boundary_is_the_normal_mixture_of_the_sum() -> None:
    n, tuning_n, alpha = 7000, 5000, 0.05
    found = confidence_sequence(Comparison(0.0, 1.0), n, alpha, tuning_n)
    mixture = NormalMixture.tuned(tuning_n, alpha)
    assert mixture.rho == pytest.approx(1 / mixture_rho(alpha, tuning_n) ** 2)
    assert found.upper == pytest.approx(mixture.bound(n, alpha) / sqrt(n))


def test_a_one_sided_mixture_is_exactly_on_its_threshold() -> None:
    mixture = NormalMixture.tuned(100.0, 0.05, sides=1)
    bound = mixture.bound(50.0, 0.05)
    assert exp(-mixture.log_mixture(bound, 50.0)) == pytest.approx(0.05)
    assert bound < NormalMixture.tuned(100.0, 0.05).bound(50.0, 0.05)


def test_no_difference_is_rejected_by_a_confidence_sequence_less_often_than_alpha() -> None:
    runs, looks, alpha = 4000, 336, 0.05
    rng = np.random.default_rng(9)
    steps = rng.normal(size=(runs, looks))
    z = np.cumsum(steps, axis=1) / np.sqrt(np.arange(1, looks + 1))
    reach = [
        confidence_sequence(Comparison(0.0, 1.0), 100 * (look + 1), alpha, 33_600).upper
        for look in range(looks)
    ]
    crossed = (np.abs(z) > np.array(reach, dtype=float)).any(axis=1).mean()
    assert crossed <= alpha + 2 * sqrt(alpha * (1 - alpha) / runs)


def test_nothing_is_significant_without_variance() -> None:
    arms = of_proportion(Proportion(1000, 0)), of_proportion(Proportion(1000, 0))
    found = confidence_sequence(compare(*arms), 2000)
    assert found.p_value is None
    assert not found.is_significant(0.05)
    assert normal_posterior(compare(*arms)) is None


def test_a_sound_split_looked_at_hourly_hardly_everalarms() -> None:
    assert alarms(0.5, 33_600, 336, 1500, 1) <= 0.005


def test_a_split_of_51_to_49_is_found_by_100_000_units() -> None:
    assert alarms(0.51, 100_000, 100, 400, 2) >= 0.95


def test_the_split_is_held_against_the_weights_of_its_time() -> None:
    changed = sequential_ratio([[500, 500], [900, 100]], [[0.5, 0.5], [0.9, 0.1]])
    assert changed.p_value == 1.0
    kept = sequential_ratio([[500, 500], [900, 100]], [0.5, 0.5])
    assert kept.p_value < SRM_ALPHA
    # A fault that favours one arm goes on being held against it after the change.
    favoured = sequential_ratio([[560, 440], [930, 70]], [[0.5, 0.5], [0.9, 0.1]])
    assert favoured.log_bayes_factors[1] > favoured.log_bayes_factors[0] > 0


def test_one_unit_in_an_arm_without_weight_is_certain_for_good() -> None:
    found = sequential_ratio([[10, 10, 0], [10, 10, 1], [900, 900, 0]], [0.5, 0.5, 0.0])
    assert found.p_values[0] == 1.0
    assert found.p_values[1:] == (0.0, 0.0)
    assert sequential_ratio([], [0.5, 0.5]).p_value == 1.0
    assert not sequential_ratio([[0, 0], [0, 0]], [0.5, 0.5]).is_mismatch
    assert sequential_ratio([[3, 4]], [0.0, 0.0]).p_value == 0.0


def test_batches_of_any_size_give_the_evidence_of_their_sum() -> None:
    parts = sequential_ratio([[30, 20], [400, 460], [5, 9]], [1, 1])
    whole = sequential_ratio([[435, 489]], [1, 1])
    assert parts.log_bayes_factors[-1] == pytest.approx(whole.log_bayes_factors[0])


def test_beta_posteriors_agree_with_adaptive_quadrature() -> None:
    control, treatment = Beta(31, 971), Beta(3, 20)

    def wins(x: float) -> float:
        return float(stats.beta.pdf(x, 3, 20) * stats.beta.cdf(x, 31, 971))

    def lost(x: float) -> float:
        return float(stats.beta.cdf(x, 3, 20) * stats.beta.sf(x, 31, 971))

    found = compare_betas(control, treatment)
    points = [0.02, 0.03, 0.04, 0.1]
    assert found.chance_to_win == pytest.approx(integrate.quad(wins, 0, 1, points=points)[0])
    assert found.loss_of_treatment == pytest.approx(integrate.quad(lost, 0, 1, points=points)[0])
    difference = treatment.mean - control.mean
    assert found.loss_of_control - found.loss_of_treatment == pytest.approx(difference)


@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (1, 0, 1, 1), (1000, 0, 1000, 10), (5, 5, 9, 9)])
def test_no_counts_are_too_small_for_a_posterior(counts: tuple[int, int, int, int]) -> None:
    n1, s1, n2, s2 = counts
    found = compare_betas(beta_posterior(Proportion(n1, s1)), beta_posterior(Proportion(n2, s2)))
    assert 0 < found.chance_to_win < 1 + 1e-12
    turned = compare_betas(beta_posterior(Proportion(n2, s2)), beta_posterior(Proportion(n1, s1)))
    assert turned.chance_to_win == pytest.approx(1 - found.chance_to_win, abs=1e-9)


def test_losses_far_out_in_the_tail_keep_their_size() -> None:
    found = compare_betas(Beta(21, 1981), Beta(32, 170))
    assert found.loss_of_treatment == pytest.approx(1.0801991866e-24, rel=1e-6)


def test_a_prior_pulls_the_normal_posterior_towards_it() -> None:
    found = normal_posterior(Comparison(0.1, 0.05), prior=(0.0, 0.05**2))
    assert found is not None
    assert found.mean == pytest.approx(0.05)
    assert found.standard_deviation == pytest.approx(0.05 / sqrt(2))
    assert found.loss_of_control - found.loss_of_treatment == pytest.approx(found.mean)
    worse = normal_posterior(Comparison(0.1, 0.05), is_higher_better=False)
    assert worse is not None
    assert worse.chance_to_win == pytest.approx(stats.norm.sf(2.0))
    assert scaled_prior((0.1, 0.09), 2.0) == pytest.approx((0.2, 0.36))
