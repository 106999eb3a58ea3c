"""Which arm is best: against quadrature of scipy, draws, closed forms and hand figures."""

from __future__ import annotations

from itertools import pairwise
from math import sqrt
from time import perf_counter

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate, special, stats

from tasks.experiments.statistics.bayes import Beta, compare_betas
from tasks.experiments.statistics.moments import sample_mean
from tasks.experiments.statistics.posteriors import BetaArms, beta_arms, normal_arms
from tasks.experiments.statistics.thompson import chances, top_two_sampling, top_two_shares

Floats = NDArray[np.float64]

RATES = [  # units, conversions
    [(1000, 50), (1000, 52), (1000, 60), (1000, 45)],
    [(0, 0), (3, 3), (40, 0), (12, 6), (7, 1)],
    [(100_000, 5000), (100_000, 5100), (30, 2)],
    [(1, 1), (1, 0)],
    [(5000, 0), (5000, 1), (4000, 2)],
]


def _arms(row: list[tuple[int, int]]) -> BetaArms:
    n, successes = zip(*row, strict=True)
    return beta_arms([n], [successes])


def _by_scipy(row: list[tuple[int, int]], arm: int) -> float:
    """The same integral by adaptive quadrature of the density itself, cut at quantiles."""
    a, b = (np.array(each) for each in zip(*((1 + s, 1 + n - s) for n, s in row), strict=True))
    others = np.arange(len(row)) != arm
    scale = special.betaln(a[arm], b[arm])

    def density(x: float) -> float:
        log = special.xlogy(a[arm] - 1, x) + special.xlog1py(b[arm] - 1, -x) - scale
        return float(np.exp(log) * special.betainc(a[others], b[others], x).prod())

    quantiles = special.betaincinv(a, b, np.array([[1e-9], [1e-3], [0.2], [0.8], [0.999]]))
    ends = sorted({0.0, 1.0, *quantiles.ravel().tolist()})
    parts = (integrate.quad(density, *pair, epsabs=1e-12)[0] for pair in pairwise(ends))
    return float(sum(parts))


@pytest.mark.parametrize("row", RATES, ids=str)
def test_the_chance_to_be_best_is_that_of_adaptive_quadrature(row: list[tuple[int, int]]) -> None:
    best = chances(_arms(row)).best[0]
    assert best == pytest.approx([_by_scipy(row, arm) for arm in range(len(row))], abs=1e-9)


@pytest.mark.parametrize("row", RATES, ids=str)
def test_chances_add_up_and_losses_differ_as_the_means_do(row: list[tuple[int, int]]) -> None:
    """E[max - θ_i] - E[max - θ_j] is the difference of the means, whatever the maximum."""
    arms = _arms(row)
    found = chances(arms)
    assert found.best.sum() == pytest.approx(1, abs=1e-9)
    assert found.second.sum() == pytest.approx(1, abs=1e-9)
    assert (found.loss + arms.mean)[0] == pytest.approx([(found.loss + arms.mean)[0, 0]] * len(row))


def test_two_arms_come_out_as_the_pair_of_the_bayesian_method() -> None:
    row = [(2000, 20), (200, 31)]
    pair = compare_betas(*(Beta(1.0 + s, 1.0 + n - s) for n, s in row))
    found = chances(_arms(row))
    assert found.best[0, 1] == pytest.approx(pair.chance_to_win, abs=1e-9)
    assert found.loss[0] == pytest.approx([pair.loss_of_control, pair.loss_of_treatment], abs=1e-9)


def test_second_best_and_loss_are_those_of_a_million_draws() -> None:
    draws = 1_000_000
    row = [(300, 15), (400, 26), (200, 13), (50, 1)]
    arms, rng = _arms(row), np.random.default_rng(11)
    drawn = rng.beta(arms.a, arms.b, (draws, 4))
    second = np.bincount(drawn.argsort(axis=1)[:, -2], minlength=4) / draws
    gaps = drawn.max(axis=1, keepdims=True) - drawn
    found = chances(arms)
    assert found.second[0] == pytest.approx(second, abs=4 * sqrt(0.25 / draws))
    for loss, gap in zip(found.loss[0], gaps.T, strict=True):
        assert loss == pytest.approx(gap.mean(), abs=4 * gap.std() / sqrt(draws))


@pytest.mark.parametrize("arms", [2, 3, 7, 20])
@pytest.mark.parametrize(("n", "successes"), [(0, 0), (1, 1), (500, 0), (10**9, 10**8)])
def test_equal_arms_have_equal_chances(arms: int, n: int, successes: int) -> None:
    found = chances(_arms([(n, successes)] * arms))
    assert found.best[0] == pytest.approx([1 / arms] * arms, abs=1e-8)
    assert found.second[0] == pytest.approx([1 / arms] * arms, abs=1e-8)


def test_a_billion_units_between_arms_that_know_nothing() -> None:
    """Two uniform arms and one at one half, by hand: it is best if both are below, 1/4.

    E[max] = 1/2 + ∫ (1 - t²) from 1/2 to 1 = 17/24, and the mean of each is 1/2.
    """
    found = chances(_arms([(0, 0), (10**9, 5 * 10**8), (0, 0)]))
    assert found.best[0] == pytest.approx([0.375, 0.25, 0.375], abs=1e-6)
    assert found.loss[0] == pytest.approx([5 / 24] * 3, abs=1e-6)


def test_a_difference_of_a_billion_units_is_that_of_the_normal_limit() -> None:
    row = [(10**9, 10**8), (10**9, 100_030_000)]
    deviation = sqrt(2 * 0.1 * 0.9 / 10**9)
    assert chances(_arms(row)).best[0, 1] == pytest.approx(stats.norm.cdf(3e-5 / deviation), 1e-4)


def test_nobody_who_converted_is_no_sign_of_being_best() -> None:
    best = chances(_arms([(1000, 0), (1000, 10), (1000, 20)])).best[0]
    assert best[0] < 1e-6
    assert chances(_arms([(10**9, 0), (10**9, 1)])).best[0, 0] == pytest.approx(0.25, abs=1e-6)


def test_where_lower_is_better_the_lowest_is_best() -> None:
    row = [(1000, 50), (1000, 80), (900, 70)]
    turned = [(n, n - successes) for n, successes in row]
    lower, higher = chances(_arms(row), is_higher_better=False), chances(_arms(turned))
    assert lower.best == pytest.approx(higher.best, abs=1e-12)
    assert lower.loss == pytest.approx(higher.loss, abs=1e-12)
    assert lower.best[0].argmax() == 0


def test_means_are_compared_as_normals() -> None:
    """Two arms: P = Φ(difference / standard error), loss from the normal's excess."""
    arms = normal_arms([[400, 900]], [[10.0, 10.5]], [[399 * 16.0, 899 * 25.0]])
    error = sqrt(16 / 400 + 25 / 900)
    z, found = 0.5 / error, chances(arms)
    assert found.best[0, 1] == pytest.approx(stats.norm.cdf(z), abs=1e-10)
    excess = -0.5 * stats.norm.cdf(-z) + error * stats.norm.pdf(z)
    assert found.loss[0, 1] == pytest.approx(excess, abs=1e-10)
    far = chances(normal_arms([[400, 900]], [[1e9 + 10, 1e9 + 10.5]], [[399 * 16, 899 * 25]]))
    assert far.best == pytest.approx(found.best, abs=1e-6)


@pytest.mark.parametrize(
    ("values", "least", "most"),
    [
        ([[5.0] * 3, [6.0] * 3], 0.6, 0.99),  # three units that did not vary are no proof
        ([[5.0], [6.0]], 0.6, 0.95),
        ([[], [6.0, 7.0, 8.0]], 0.4, 0.6),
        ([[], []], 0.5, 0.5),
        ([[5.0] * 4, [5.0] * 900], 0.5, 0.5),
        ([[5.0] * 10_000, [6.0] * 10_000], 0.9999, 1.0),  # as many as these are
    ],
    ids=["alike within", "one each", "none", "no data", "all equal", "many"],
)
def test_means_that_hardly_vary_are_not_certain(
    values: list[list[float]], least: float, most: float
) -> None:
    held = [sample_mean(each) for each in values]
    moments = ([[getattr(each, name) for each in held]] for name in ("n", "mean", "m2"))
    best = chances(normal_arms(*moments)).best[0, 1]
    assert least - 1e-9 <= best <= most + 1e-9


def test_rows_of_different_length_come_out_as_alone() -> None:
    n, successes = np.array([[100, 200, 0], [50, 60, 70]]), np.array([[9, 30, 0], [5, 6, 9]])
    is_there = np.array([[True, True, False], [True, True, True]])
    together = chances(beta_arms(n, successes), is_there)
    pair = chances(beta_arms(n[:1, :2], successes[:1, :2]))
    assert together.best[0].tolist() == pytest.approx([*pair.best[0], 0.0], abs=1e-10)
    assert together.loss[0].tolist() == pytest.approx([*pair.loss[0], 0.0], abs=1e-10)
    assert together.best[1] == pytest.approx(chances(beta_arms(n[1:], successes[1:])).best[0])
    assert chances(beta_arms(n[:0], successes[:0])).best.shape == (0, 3)


def test_a_prior_that_has_no_end_is_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        beta_arms([[1, 1]], [[0, 1]], prior=(0.001, 1.0))


def test_the_two_that_lead_share_also_where_one_is_certain() -> None:
    certain: Floats = np.array([[1.0, 0.0, 0.0], [1.0, 1e-20, 3e-20]])
    shares = top_two_sampling(certain)
    assert shares == pytest.approx(np.array([[0.5, 0.25, 0.25], [0.5, 0.125, 0.375]]))
    for best in ([0.3, 0.7], [1.0, 0.0], [1.0, 1e-30]):
        assert top_two_sampling(np.array([best])) == pytest.approx(0.5)
        assert top_two_shares(np.array([best]), np.array([best[::-1]])) == pytest.approx(0.5)


def test_a_thousand_bandits_are_a_matter_of_a_second() -> None:
    rng = np.random.default_rng(3)
    n = rng.integers(0, 100_000, (1000, 5))
    arms = beta_arms(n, rng.binomial(n, 0.05))
    started = perf_counter()
    found = chances(arms)
    assert perf_counter() - started < 5  # about 0.3 s alone on a machine
    assert np.abs(found.best.sum(axis=1) - 1).max() < 1e-9
