"""Evidence is fair: under its hypothesis a bet on it is worth 1, whatever came before."""

from __future__ import annotations

from itertools import product
from math import exp, inf, isfinite, lgamma, log, sqrt

import numpy as np
import pytest
from scipy import integrate, stats

from tasks.rollouts.guard.binomial import exact_interval, least_count, p_value_above
from tasks.rollouts.guard.mixtures import (
    Split,
    log_e_above,
    log_e_below,
    log_e_worse,
    mean_margin,
)


def chances(count: int, rate: float) -> list[float]:
    """Of 0, 1, … count bad ones."""
    return [float(p) for p in np.asarray(stats.binom.pmf(np.arange(count + 1), count, rate))]


@pytest.mark.parametrize("count", [1, 7, 60])
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.5, 0.97])
def test_evidence_against_a_limit_is_worth_1_at_the_limit_and_less_within_it(
    count: int, rate: float
) -> None:
    def worth(true: float, *, below: bool) -> float:
        log_e = log_e_below if below else log_e_above
        return sum(p * exp(log_e(bad, count, rate)) for bad, p in enumerate(chances(count, true)))

    for below in (False, True):
        assert worth(rate, below=below) == pytest.approx(1, rel=1e-9)
    assert worth(rate * 0.7, below=False) < 1
    assert worth(1 - (1 - rate) * 0.7, below=True) < 1


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_evidence_against_the_control_is_worth_1_where_errors_fall_by_the_traffic(
    share: float,
) -> None:
    both = 30
    looks = [Split(bad, 1000 * share, both - bad, 1000 * (1 - share)) for bad in range(both + 1)]
    worth = sum(
        p * exp(log_e_worse([look])) for look, p in zip(looks, chances(both, share), strict=True)
    )
    assert worth == pytest.approx(1, rel=1e-9)


def test_looks_at_one_share_tell_as_much_as_their_sums() -> None:
    looks = [Split(3, 100, 20, 900), Split(5, 200, 41, 1800)]
    assert log_e_worse(looks) == pytest.approx(log_e_worse([Split(8, 300, 61, 2700)]))


def test_looks_at_two_shares_are_not_pooled() -> None:
    """All bad at first, when the version had 5 %; none later: together it would look worse off."""
    bad_hour, good_hour = Split(50, 500, 950, 9500), Split(0, 9000, 0, 1000)
    assert log_e_worse([bad_hour, good_hour]) == pytest.approx(log_e_worse([bad_hour]))
    assert log_e_worse([Split(50, 9500, 950, 10500)]) != pytest.approx(log_e_worse([bad_hour]))


@pytest.mark.parametrize(
    ("bad", "count", "rate"), [(0, 50, 0.05), (9, 100, 0.05), (200, 300, 0.6), (5, 5000, 0.002)]
)
def test_evidence_is_the_integral_of_the_likelihood(bad: int, count: int, rate: float) -> None:
    scale = stats.binom.logpmf(bad, count, bad / count)

    def likelihood(p: float) -> float:
        return exp(stats.binom.logpmf(bad, count, p) - scale) * float(stats.beta.pdf(p, 0.5, 0.5))

    points = [min(max(bad / count, rate), 0.999)]
    found, _ = integrate.quad(likelihood, rate, 1, points=points, limit=500)
    mixed = log(found) - float(stats.beta.logsf(rate, 0.5, 0.5))
    expected = mixed + scale - stats.binom.logpmf(bad, count, rate)
    assert log_e_above(bad, count, rate) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("count", [0, 1, 2, 999, 10**6, 10**9])
def test_evidence_stands_any_numbers(count: int) -> None:
    parts = (0.0, 1e-9, 0.05, 0.0500001, 0.5, 1.0)
    rates = (0.0, 1e-9, 0.05, 1 - 1e-9, 1.0)
    for part, rate, log_e in product(parts, rates, (log_e_above, log_e_below)):
        bad = round(part * count)
        found = log_e(bad, count, rate)
        assert isfinite(found) or found == inf
        assert isfinite(log_e_worse([Split(bad, count, count - bad, count)]))
        assert isfinite(log_e_worse([Split(bad, count, 0, 0)]))


def test_evidence_grows_with_what_is_bad() -> None:
    above = [log_e_above(bad, 1000, 0.05) for bad in range(50, 1001, 10)]
    assert above == sorted(above)
    below = [log_e_below(bad, 10**9, 0.05) for bad in range(0, 5 * 10**7, 10**6)]
    assert below == sorted(below, reverse=True)


def test_what_must_not_be_is_shown_by_one() -> None:
    assert log_e_above(1, 10, 0.0) == inf
    assert log_e_above(0, 10, 0.0) == pytest.approx(
        lgamma(0.5) + lgamma(10.5) - lgamma(11) - log(np.pi)
    )
    assert log_e_above(10, 10, 1.0) == 0.0


def test_a_mean_stays_within_its_bounds_at_all_looks() -> None:
    rng = np.random.default_rng(5)
    runs, alpha = 500, 0.05
    counts = np.unique(np.geomspace(30, 3_000, 60).astype(int))
    paths = rng.standard_normal((runs, counts[-1])).cumsum(axis=1)[:, counts - 1]
    margins = np.array([mean_margin(float(count), alpha, 100.0) for count in counts])
    left = (np.abs(paths / np.sqrt(counts)) > margins).any(axis=1).mean()
    assert left <= alpha + 3 * sqrt(alpha * (1 - alpha) / runs)


def test_exact_figures_of_one_look_agree_with_scipy() -> None:
    test = stats.binomtest(12, 100, 0.05, alternative="greater")
    assert p_value_above(12, 100, 0.05) == pytest.approx(test.pvalue)
    interval = stats.binomtest(12, 100).proportion_ci(0.95, "exact")
    assert exact_interval(12, 100) == pytest.approx((interval.low, interval.high))
    assert exact_interval(0, 0) == (0.0, 1.0)


def test_a_bare_threshold_is_never_seldom_wrong_at_its_limit() -> None:
    assert least_count(0.0499, 0.05, 0.01, most=2_000) is None
    assert least_count(0.04, 0.05, 0.01) == 2320
