"""Planned samples against other routes: statsmodels, simulation, and their own inverse."""

from __future__ import annotations

from math import ceil, log, log1p, sqrt
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower

from tasks.experiments.definition.plan import ExperimentPlan
from tasks.experiments.definition.sample import Baseline, Sizing, smallest_effect
from tests.unit.test_experiment_definition import METRIC, PLAN

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


def test_a_quantile_s_sample_uses_the_variance_of_a_quantile() -> None:
    random = np.random.default_rng(1)
    medians = np.median(random.normal(0, 1, (4000, 400)), axis=1)
    ratio = sizing("quantile", quantile=0.5).sample(0.1).total / sizing().sample(0.1).total
    assert ratio == pytest.approx(np.var(medians) * 400, rel=4 * sqrt(2 / 4000))
    assert ratio == pytest.approx(0.25 / stats.norm.pdf(0) ** 2, rel=0.001)


@pytest.mark.parametrize("kind", ["mean", "proportion", "quantile"])
@pytest.mark.parametrize("method", ["fixed", "group_sequential", "confidence_sequence"])
def test_the_smallest_effect_is_the_inverse_of_the_sample(kind: str, method: str) -> None:
    asked = sizing(kind, method, quantile=0.9 if kind == "quantile" else None)
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
