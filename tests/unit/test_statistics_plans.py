"""Plans keep their promise when looked at every hour, and winners are not praised too much."""

from __future__ import annotations

from functools import lru_cache
from math import sqrt

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special, stats

from tasks.experiments.statistics.corrections import correction_factor, unbiased_share
from tasks.experiments.statistics.drifts import exits, mean_stop, power
from tasks.experiments.statistics.power import (
    missing_share,
    normal_power,
    power_at_deviate,
    rate_at_effect,
    smallest_effect,
    t_power,
)
from tasks.experiments.statistics.sequential import group_sequential_bounds
from tasks.experiments.statistics.sizing import (
    Design,
    inflation,
    plan_means,
    plan_rates,
    size_for_effect,
    size_for_rates,
    size_for_shares,
)

Floats = NDArray[np.float64]
HOURLY = [(hour + 1) / 336 for hour in range(336)]
DAILY = [(day + 1) / 14 for day in range(14)]
RATE, MDE = 0.1, 0.02
RUNS = 6_000


@lru_cache(maxsize=4)
def _stopped(effect: float, looks: int) -> tuple[Floats, Floats, Floats]:
    """Whole experiments of conversions: z, raw difference and fraction where each one stopped."""
    plan = plan_rates(RATE, MDE, Design(looks))
    fractions = [(look + 1) / looks for look in range(looks)]
    units = np.round(np.array(fractions) * plan.control).astype(int)
    rng = np.random.default_rng(20261121)
    new = np.diff(units, prepend=0)
    control = rng.binomial(new, RATE, (RUNS, looks)).cumsum(axis=1)
    treatment = rng.binomial(new, RATE + effect, (RUNS, looks)).cumsum(axis=1)
    pooled = (control + treatment) / (2 * units)
    difference = (treatment - control) / units
    error = np.sqrt(pooled * (1 - pooled) * 2 / units)
    z = np.divide(difference, error, out=np.zeros_like(difference), where=error > 0)
    bounds = [np.inf if b.z is None else b.z for b in group_sequential_bounds(fractions, 0.05)]
    crossed = np.abs(z) >= np.array(bounds)
    crossed[:, -1] |= ~crossed.any(axis=1)  # those that cross nothing stop at the end
    at = crossed.argmax(axis=1)
    rows = np.arange(RUNS)
    signed = np.where(np.abs(z[rows, at]) >= np.array(bounds)[at], z[rows, at], 0.0)
    return signed, difference[rows, at], np.array(fractions)[at]


@pytest.mark.parametrize("looks", [14, 336])
def test_a_plan_has_its_power_with_all_its_looks(looks: int) -> None:
    won = float((_stopped(MDE, looks)[0] > 0).mean())
    assert won >= 0.80 - 2 * sqrt(0.8 * 0.2 / RUNS)
    assert won <= 0.82


def test_it_stops_early_where_there_is_something_to_find() -> None:
    assert _stopped(MDE, 336)[2].mean() <= 0.75
    assert _stopped(2 * MDE, 336)[2].mean() <= 0.40
    drift = sqrt(inflation(336)) * float(special.ndtri(0.8) - special.ndtri(0.025))
    expected = mean_stop(HOURLY, 0.05, drift)
    assert _stopped(MDE, 336)[2].mean() == pytest.approx(expected, abs=0.02)


def test_without_a_difference_something_is_found_as_often_as_alpha() -> None:
    found = float((_stopped(0.0, 336)[0] != 0).mean())
    assert found <= 0.05 + 2 * sqrt(0.05 * 0.95 / RUNS)


@pytest.mark.parametrize("looks", [14, 336])
def test_the_corrected_effect_of_winners_is_right_at_the_planned_one(looks: int) -> None:
    z, difference, fraction = _stopped(MDE, looks)
    fractions = [(look + 1) / looks for look in range(looks)]
    share = unbiased_share(fractions, 0.05)
    assert share is not None
    won = z > 0
    raw = difference[won].mean() / MDE
    corrected = (difference[won] * fraction[won] / (fraction[won] + share)).mean() / MDE
    assert raw > 1.25
    assert corrected == pytest.approx(1.0, abs=0.10)


def test_the_correction_knows_only_the_looks_so_far() -> None:
    whole = unbiased_share(DAILY, 0.05)
    for so_far in (DAILY[:3], DAILY[:9], HOURLY[:50], [0.4]):
        factor = correction_factor(so_far, 0.05)
        assert factor is not None
        assert whole is not None
        assert factor == pytest.approx(so_far[-1] / (so_far[-1] + whole), rel=0.01)
    assert correction_factor([0.0], 0.05) is None
    assert 0.8 < (correction_factor([0.5, 1.2], 0.05) or 0) < 0.9


def test_what_looking_often_costs_is_as_published() -> None:
    # About 10 % for t², 7 % for t³; nothing for a single look.
    assert inflation(1) == pytest.approx(1.0, abs=1e-6)
    assert inflation(336) == pytest.approx(1.10, abs=0.01)
    assert inflation(336, rho=3.0) == pytest.approx(1.07, abs=0.01)
    assert inflation([0.25, 0.5, 0.75, 1.0]) == pytest.approx(inflation(4))


def test_the_exits_under_a_drift_are_those_of_simulated_paths() -> None:
    fractions, drift, runs = [0.2, 0.35, 0.7, 1.0], 2.5, 200_000
    found = exits(fractions, 0.05)
    rng = np.random.default_rng(4)
    steps = np.diff(fractions, prepend=0.0)
    sums = np.cumsum(rng.normal(size=(runs, 4)) * np.sqrt(steps) + drift * steps, axis=1)
    z = sums / np.sqrt(fractions)
    crossed = np.abs(z) >= found.z
    first = np.where(crossed.any(axis=1), crossed.argmax(axis=1), -1)
    up, height = found.upward(drift), found.upward_sums(drift)
    for look in range(4):
        there = (first == look) & (z[:, look] > 0)
        error = sqrt(up[look] * (1 - up[look]) / runs)
        assert there.mean() == pytest.approx(up[look], abs=4 * error)
        assert (there * sums[:, look]).mean() == pytest.approx(height[look], abs=8 * error)
    assert power(fractions, 0.05, 0.0) == pytest.approx(0.025, abs=1e-6)


def test_the_units_of_all_arms_are_planned_for_holms_first_step() -> None:
    plan = plan_rates(RATE, 0.01, Design(14, (sqrt(3), 1, 1, 1)))
    assert plan.alpha == pytest.approx(0.05 / 3)
    assert plan.control / plan.treatment == pytest.approx(sqrt(3), rel=1e-3)
    assert plan.total == plan.control + 3 * plan.treatment
    equal = plan_rates(RATE, 0.01, Design(14, (1, 1, 1, 1)))
    assert plan.total < equal.total  # the control is in every comparison: Dunnett (1955)
    assert equal.treatment == pytest.approx(
        size_for_rates(RATE, 0.01, 0.05 / 3) * inflation(14, 0.05 / 3), abs=1
    )
    means = plan_means(30.0, 0.5, Design(1))
    assert means.control == pytest.approx(size_for_effect(0.5 / 30), abs=1)


def test_powers_agree_with_the_noncentral_distributions() -> None:
    shift = 0.3 * sqrt(60 * 90 / 150)
    t = stats.t.isf(0.025, 148)
    expected = stats.nct.sf(t, 148, shift) + stats.nct.cdf(-t, 148, shift)
    assert t_power(0.3, 60, 90) == pytest.approx(expected)
    one_sided = stats.nct.sf(stats.t.isf(0.05, 148), 148, shift)
    assert t_power(0.3, 60, 90, alternative="larger") == pytest.approx(one_sided)
    assert t_power(0.3, 60, 90, alternative="smaller") < 0.05
    assert t_power(0.1, 10**8, 10**8) == pytest.approx(1.0)


@pytest.mark.parametrize("is_normal", [True, False])
@pytest.mark.parametrize("alternative", ["two-sided", "larger", "smaller"])
def test_sizes_effects_and_power_are_inverses(is_normal: bool, alternative: str) -> None:
    side = alternative if alternative in {"larger", "smaller"} else "two-sided"
    effect = smallest_effect(500, 700, 0.05, 0.9, side, is_normal=is_normal)  # type: ignore[arg-type]
    of_effect = normal_power if is_normal else t_power
    assert of_effect(effect, 500, 700, 0.05, side) == pytest.approx(0.9)  # type: ignore[arg-type]
    size = size_for_effect(effect, 0.05, 0.9, 1.4, side, is_normal=is_normal)  # type: ignore[arg-type]
    assert size == pytest.approx(500)
    assert smallest_effect(10**9, 10**9) == pytest.approx(1.2529e-4, rel=1e-3)


def test_what_cannot_be_planned_is_said() -> None:
    assert size_for_effect(0.0) == float("inf")
    assert missing_share(0.0) == float("inf")
    assert missing_share(5.0) == 0.0
    assert missing_share(1.4) == pytest.approx(3.0, abs=0.01)
    assert missing_share(1.4, goals=2) > missing_share(1.4)
    assert power_at_deviate(0.0) == pytest.approx(0.05)
    assert rate_at_effect(0.9, 9.0) == 1.0
    assert size_for_shares(0.09, 0.01, (1, 1)) == pytest.approx(28_256, abs=1)
