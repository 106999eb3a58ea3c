"""Whole bandits, drawn, through the rule: the quick form of `python -m benchmarks.bandits`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.allocating import Bandit, mean_and_error, run
from benchmarks.bandits import (
    CLOSE,
    FIVE,
    MEANS,
    MOST_REGRET,
    MOST_SECONDS,
    falsely_likely,
    seconds,
)
from tasks.experiments.bandits.evidence import BanditPolicy

SEED = 7


def test_thompson_loses_less_than_a_third_of_what_an_equal_split_of_five_arms_does() -> None:
    course = run(Bandit(FIVE), 10, SEED)
    regret, error = mean_and_error(course.regret)
    assert 0.15 < regret <= MOST_REGRET
    assert error < 0.03
    assert np.all(course.units.sum(axis=1) == 336 * 250)
    assert (course.leader == 4).mean() >= 0.9
    assert course.weights[:, :4].min() >= 0.01 - 1e-9


@pytest.mark.parametrize("algorithm", ["top_two", "top_two_sampling"])
def test_top_two_of_two_arms_loses_what_an_equal_split_does(algorithm: str) -> None:
    course = run(Bandit(CLOSE, BanditPolicy(algorithm=algorithm), hours=48), 6, SEED)
    regret, error = mean_and_error(course.regret)
    assert abs(regret - 1) <= 3 * error
    assert course.changes.sum() == 0


@pytest.mark.parametrize(
    "bandit",
    [
        Bandit(FIVE, BanditPolicy(algorithm="epsilon_greedy"), hours=72),
        Bandit(MEANS, deviation=5.0, hours=72),
        Bandit(FIVE, window_hours=24, hours=96),
    ],
    ids=["epsilon-greedy", "means", "known after a day"],
)
def test_others_lose_less_than_an_equal_split_within_days(bandit: Bandit) -> None:
    regret, error = mean_and_error(run(bandit, 8, SEED).regret)
    assert regret + 2 * error < 1


def test_nothing_moves_before_outcomes_are_known() -> None:
    late = Bandit(FIVE, window_hours=24, hours=24)
    assert run(late, 3, SEED).changes.sum() == 0
    assert run(replace(late, hours=48), 3, SEED).changes.min() > 0


def test_the_best_chance_crosses_95_percent_far_too_often_to_name_a_winner() -> None:
    """Two equal arms, three days of hours: so the chance to be best ends nothing."""
    found = falsely_likely(2, 30, SEED, hours=72)
    assert found["ever_likely"] - 2 * found["ever_likely_se"] > 0.05


def test_a_hundred_updates_take_less_than_half_of_what_a_thousand_may() -> None:
    assert max(seconds(100, 1).values()) < MOST_SECONDS / 2  # 0.15 s on an idle machine
