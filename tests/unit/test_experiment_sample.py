"""Planned samples against other routes: statsmodels, simulation, and their own inverse."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, log, log1p, sqrt
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower

from tasks.experiments.definition.plan import ExperimentPlan
from tasks.experiments.definition.sample import Baseline, Sizing, smallest_effect
from tasks.experiments.metrics import ArmMoments, metrics
from tasks.experiments.statistics.moments import SampleMean
from tasks.experiments.statistics.quantiles import quantile_estimate, quantile_ranks
from tasks.experiments.statistics.ratios import JointMoments
from tests.unit.definitions import METRIC, PLAN

HALVES = (0.5, 0.5)


def sizing(kind: str = "mean", method: str = "fixed", **changes: Any) -> Sizing:
    asked: dict[str, Any] = {
        "kind": kind,
        "baseline": Baseline(mean=0.1, standard_deviation=0.4),
        "shares": HALVES,
        "alpha": 0.05,
        "power": 0.8,
        "method": method,
    }
    return Sizing(**asked | changes)


def test_a_fixed_sample_of_means_is_that_of_statsmodels() -> None:
    each = TTestIndPower().solve_power(0.01 / 0.4, alpha=0.05, power=0.8)
    assert sizing().sample(0.1).total == 2 * ceil(each)


def test_looking_hourly_is_paid_for() -> None:
    """10 % to 11 %: 14,751 an arm for one look (Fleiss), 10 % more for two weeks of looks."""
    fixed, hourly = (sizing("proportion", m).sample(0.1) for m in ("fixed", "group_sequential"))
    assert fixed.total == 2 * 14_751
    assert hourly.total / fixed.total == pytest.approx(1.1095, abs=0.001)


def test_three_arms_share_the_error() -> None:
    two = sizing(shares=(0.5, 0.5), alpha=0.025).sample(0.1)
    three = sizing(shares=(1 / 3, 1 / 3, 1 / 3)).sample(0.1)
    assert (three.control, three.alpha) == (two.control, 0.025)


def test_a_sequence_finds_the_effect_with_its_power_at_the_planned_end() -> None:
    """5,000 Brownian paths with that drift, looked at 100 times by an independent bound."""
    alpha, paths, looks = 0.05, 5000, 100
    sample = sizing(method="confidence_sequence").sample(0.1)
    drift = 0.01 / (0.4 * sqrt(4 / sample.total))
    random = np.random.default_rng(20261121)
    t = np.arange(1, looks + 1) / looks
    walk = np.cumsum(random.normal(drift / looks, sqrt(1 / looks), (paths, looks)), axis=1)
    rho = -2 * log(alpha) + log(-2 * log(alpha) + 1)
    bound = np.array([sqrt((x * rho + 1) / rho * (log1p(x * rho) - 2 * log(alpha))) for x in t])
    power = np.mean(np.any(walk >= bound, axis=1))
    assert power >= 0.8 - 2 * sqrt(0.8 * 0.2 / paths)
    assert power <= 0.9


def power_of(kind: str, pairs: Iterable[tuple[ArmMoments, ArmMoments]]) -> tuple[float, float]:
    """How often the kind's own test finds a difference, and the standard error of that."""
    p_values = [metrics.get(kind).compare(*pair, 0.05).p_value for pair in pairs]
    found = [p is not None and p < 0.05 for p in p_values]
    share = float(np.mean(found))
    return share, sqrt(share * (1 - share) / len(found))


def test_a_ratio_planned_by_the_delta_method_has_its_power() -> None:
    """Clicks per view of users who differ in both; its units' own spread would plan far too few."""
    random = np.random.default_rng(20261121)

    def arm(n: int, better: float = 1.0) -> tuple[Any, Any]:
        views = 1 + random.negative_binomial(1, 0.1, n)
        return random.binomial(views, better * random.beta(2, 8, n)), views

    clicks, views = arm(1_000_000)
    ratio = clicks.mean() / views.mean()
    deviation = np.std(clicks - ratio * views) / views.mean()
    known = Baseline(mean=ratio, standard_deviation=deviation)
    sample = sizing("ratio", baseline=known).sample(0.1)

    def moments(values: tuple[Any, Any]) -> ArmMoments:
        x, y = (each.astype(float) for each in values)
        joint = JointMoments(
            len(x),
            x.mean(),
            x.var() * len(x),
            y.mean(),
            y.var() * len(y),
            float(((x - x.mean()) * (y - y.mean())).sum()),
        )
        return ArmMoments(joint.value, denominator=joint)

    pairs = (
        (moments(arm(sample.control)), moments(arm(sample.treatment, 1.1))) for _ in range(1500)
    )
    power, error = power_of("ratio", pairs)
    assert power == pytest.approx(0.8, abs=3 * error), (power, error)


def test_a_quantile_planned_by_its_own_variance_has_its_power() -> None:
    """The 90 % quantile of lognormal values; taking them as normal would plan a third of it."""
    random = np.random.default_rng(20261121)
    level, shape = 0.9, stats.lognorm(1.0)
    value = float(shape.ppf(level))
    deviation = sqrt(level * (1 - level)) / float(shape.pdf(value))
    known = Baseline(mean=value, standard_deviation=deviation)
    sample = sizing("quantile", baseline=known).sample(0.15)

    def moments(n: int, shift: float) -> ArmMoments:
        values = np.sort(random.lognormal(size=n)) + shift
        lower, upper = quantile_ranks(n, level) or (1, n)
        middle = float(np.quantile(values, level))
        found = quantile_estimate(n, middle, values[lower - 1], values[upper - 1])
        return ArmMoments(SampleMean(n, found.value, found.variance * (n - 1)))

    pairs = (
        (moments(sample.control, 0.0), moments(sample.treatment, 0.15 * value)) for _ in range(1500)
    )
    power, error = power_of("quantile", pairs)
    # The width of the interval over-estimates the variance a little: Deng, Knoblich and Lu.
    assert 0.8 - 0.05 < power < 0.8 + 3 * error, (power, error)
    normal = sqrt(level * (1 - level)) / stats.norm.pdf(stats.norm.ppf(level)) * shape.std()
    assert (deviation / normal) ** 2 == pytest.approx(2.78, abs=0.01)


def test_cuped_takes_what_the_covariate_explains_out_of_the_sample() -> None:
    random, rho = np.random.default_rng(20261121), 0.7
    known = Baseline(mean=10, standard_deviation=4, correlation=rho)
    plain = Baseline(mean=10, standard_deviation=4)
    sample, without = (sizing(baseline=each).sample(0.05) for each in (known, plain))
    assert sample.total == pytest.approx(without.total * (1 - rho**2), abs=2)

    def moments(n: int, mean: float) -> ArmMoments:
        before = random.normal(size=n)
        x = mean + 4 * (rho * before + sqrt(1 - rho**2) * random.normal(size=n))
        c2 = float(((x - x.mean()) * (before - before.mean())).sum())
        joint = JointMoments(n, x.mean(), x.var() * n, before.mean(), before.var() * n, c2)
        return ArmMoments(joint.value, covariate=joint)

    pairs = ((moments(sample.control, 10), moments(sample.treatment, 10.5)) for _ in range(4000))
    power, error = power_of("mean", pairs)
    assert power == pytest.approx(0.8, abs=3 * error), (power, error)


@pytest.mark.parametrize("kind", ["mean", "proportion", "quantile"])
@pytest.mark.parametrize("method", ["fixed", "group_sequential", "confidence_sequence"])
def test_the_smallest_effect_is_the_inverse_of_the_sample(kind: str, method: str) -> None:
    asked = sizing(kind, method)
    total = asked.sample(0.07).total
    assert smallest_effect(asked, total) == pytest.approx(0.07, rel=1e-3)


def test_nothing_is_found_by_nobody() -> None:
    assert smallest_effect(sizing("proportion"), 2) is None


@pytest.mark.parametrize(
    ("changes", "effect", "message"),
    [
        ({"baseline": Baseline(mean=0, standard_deviation=1)}, 0.1, "mean is 0"),
        ({"baseline": Baseline(mean=1)}, 0.1, "needs a standard_deviation"),
        ({"kind": "proportion", "baseline": Baseline(mean=1.5)}, 0.1, "between 0 and 1"),
        ({"kind": "proportion", "baseline": Baseline(mean=0.5)}, 1.5, "out of 0 to 1"),
        ({}, 1e-200, "no sample is large enough"),
    ],
)
def test_a_sample_that_cannot_be_is_refused(
    changes: dict[str, Any], effect: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        sizing(**changes).sample(effect)


def test_a_plan_computes_its_size_from_its_baseline() -> None:
    told = PLAN | {"planned_sample_size": 0, "minimum_effect": 0.1}
    rate = {"name": "m", "kind": "proportion", "event_type": "e"}
    plan = ExperimentPlan.model_validate(told | {"metric": rate, "baseline": {"mean": 0.1}})
    assert plan.planned_sample_size == sizing("proportion", "group_sequential").sample(0.1).total
    reserved = {"baseline": {"mean": 2, "standard_deviation": 3}, "metric": METRIC}
    sizes = [
        ExperimentPlan.model_validate(told | reserved | {"reserved_alpha": kept})
        for kept in (0, 0.01)
    ]
    assert sizes[0].planned_sample_size < sizes[1].planned_sample_size
