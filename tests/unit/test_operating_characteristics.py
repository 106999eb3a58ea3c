"""Whole experiments, drawn by the thousand: false winners, power, stops, size of the lift.

The quick form of `python -m benchmarks.decisions`. Coverage of intervals and the sample ratio have
theirs in test_statistics_lift.py and test_experiment_quality.py.
"""

from __future__ import annotations

from math import sqrt

import pytest

from benchmarks.decisions import (
    MOST_BIAS,
    MOST_STOP,
    MOST_STOP_TWICE,
    POWER,
    errors,
    gains,
    most_errors,
    planned_units,
)
from benchmarks.judging import (
    Bound,
    confidence_sequence,
    fixed,
    group_sequential,
    significant_at_last,
)
from benchmarks.ruled import before_the_rule, differing
from benchmarks.simulated import DAILY, HOURLY, IRREGULAR, Experiment

RUNS = 3_000
SEED = 7
PLANNED = 32_733  # the plan of 10 % to 11 %, two arms, power 0.8


def test_the_planned_sample_is_that_of_fleiss_and_ten_percent_for_looking() -> None:
    assert planned_units(0.1) == PLANNED
    assert planned_units(0.1, method="fixed") == 2 * 14_751


@pytest.mark.parametrize("schedule", [HOURLY, DAILY, IRREGULAR], ids=["hourly", "daily", "odd"])
def test_without_a_difference_hardly_anything_is_found_whenever_one_looks(
    schedule: tuple[float, ...],
) -> None:
    found = errors(Experiment((0.1, 0.1), PLANNED, schedule), group_sequential, RUNS, SEED)
    assert found.any_found <= most_errors(RUNS)
    # It is not bought with bounds that nothing can reach, and half of it is harm.
    assert found.any_found >= 0.03
    assert found.won == pytest.approx(found.any_found / 2, abs=0.012)


def test_means_keep_the_promise_too() -> None:
    means = Experiment((3.0, 3.0), 8_000, DAILY, deviation=5.0)
    assert 0.03 <= errors(means, group_sequential, RUNS, SEED).any_found <= most_errors(RUNS)


@pytest.mark.parametrize(
    ("method", "least"), [(confidence_sequence, 0.001), (fixed, 0.03)], ids=["sequence", "fixed"]
)
def test_other_methods_that_promise_alpha_keep_it(method: Bound, least: float) -> None:
    found = errors(Experiment((0.1, 0.1), PLANNED, DAILY), method, RUNS, SEED)
    assert least <= found.any_found <= most_errors(RUNS)


def test_a_reserve_lets_it_go_on_past_the_plan_within_alpha() -> None:
    later = tuple((day + 1) / 14 for day in range(28))
    reserve = Experiment((0.1, 0.1), PLANNED, later, reserved_alpha=0.01)
    assert errors(reserve, group_sequential, RUNS, SEED).any_found <= most_errors(RUNS)


@pytest.mark.parametrize("values", [(0.1, 0.1, 0.1, 0.1), (0.1, 0.1, 0.11, 0.09)])
def test_four_arms_share_the_error_also_where_some_truly_differ(values: tuple[float, ...]) -> None:
    found = errors(Experiment(values, 87_395, DAILY), group_sequential, RUNS, SEED)
    assert found.null_found <= most_errors(RUNS)


def test_significant_whenever_one_looks_is_wrong_several_times_as_often() -> None:
    """What the same simulation says of the rule without bounds: it can tell the difference."""
    found = errors(Experiment((0.1, 0.1), PLANNED, DAILY), significant_at_last, RUNS, SEED)
    assert 0.17 <= found.any_found <= 0.27


def test_the_planned_sample_finds_the_planned_effect_early_and_says_how_large_it_is() -> None:
    found = gains(Experiment((0.1, 0.11), PLANNED, DAILY), RUNS, SEED)
    assert POWER - 2 * sqrt(POWER * (1 - POWER) / RUNS) <= found.power <= 0.84
    assert found.mean_stop <= MOST_STOP
    assert abs(found.corrected_lift - 1) <= MOST_BIAS < found.raw_lift - 1


def test_twice_the_planned_effect_is_found_in_half_of_the_time() -> None:
    found = gains(Experiment((0.1, 0.12), PLANNED, DAILY), RUNS, SEED)
    assert found.power > 0.99
    assert found.mean_stop <= MOST_STOP_TWICE


@pytest.mark.parametrize("case", list(before_the_rule()), ids=lambda case: case[0])
def test_the_rule_itself_ends_runs_as_the_simulation_does(
    case: tuple[str, Experiment, Bound, str, int],
) -> None:
    """Look by look: the same winner at the same look, with the same corrected lift."""
    _, experiment, bound, method, runs = case
    assert differing(experiment, bound, method, runs // 2, SEED) == []
