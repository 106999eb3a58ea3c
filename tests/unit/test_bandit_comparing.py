"""The figures of an update where the split has moved: by hand, for a mean, a rate and a ratio."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tasks.experiments.traffic.comparing import compare_arms


def arm(name: str, n: int, mean: float = 0.0, *, has_denominator: bool = False) -> Any:
    return SimpleNamespace(name=name, n=n, mean=mean, has_denominator=has_denominator)


def epochs(name: str, n: list[int], mean: list[float], **more: list[float]) -> Any:
    nothing: list[float] = [0.0] * len(n)
    others = dict.fromkeys(("m2", "denominator_mean", "denominator_m2", "denominator_c2"), nothing)
    return SimpleNamespace(
        name=name, epochs=[*range(1, len(n) + 1)], n=n, mean=mean, **(others | more)
    )


def test_a_mean_is_that_of_arms_in_the_same_mood() -> None:
    """5 more in each epoch, of 100 and 10 units; the mood falls by 40: the mean of all is 43.3."""
    arms = [arm("a", 110), arm("b", 110)]
    rows = [epochs("a", [100, 10], [60, 20]), epochs("b", [10, 100], [65, 25])]
    found = compare_arms(arms, rows, is_rate=False)
    assert found["b"].mean - found["a"].mean == pytest.approx(5)
    assert (found["a"].mean + found["b"].mean) / 2 == pytest.approx(
        (60 * 100 + 200 + 650 + 2500) / 220
    )
    # The difference has the error of two epochs of 1 / (1/100 + 1/10) units each, put together.
    assert found["a"].n == 110
    assert found["b"].n == int(1 / ((1 / 100 + 1 / 10) / 2 - 1 / 110))


def test_a_rate_stays_one_and_nobody_who_converts_keeps_none() -> None:
    arms = [arm("a", 110, 0.1), arm("b", 110, 0.0)]
    rows = [epochs("a", [10, 100], [0.1, 0.1]), epochs("b", [100, 10], [0.0, 0.0])]
    found = compare_arms(arms, rows, is_rate=True)
    assert found["b"].mean == 0.0
    assert 0 < found["a"].mean <= 1


def test_a_ratio_is_compared_in_its_mood_too() -> None:
    """Twice as much of both in the second epoch; a's ratio is 2 and b's 3 throughout."""
    arms = [arm("a", 110, has_denominator=True), arm("b", 110, has_denominator=True)]
    rows = [
        epochs("a", [100, 10], [2.0, 4.0], denominator_mean=[1.0, 2.0]),
        epochs("b", [10, 100], [3.0, 6.0], denominator_mean=[1.0, 2.0]),
    ]
    found = compare_arms(arms, rows, is_rate=False)
    assert found["b"].mean - found["a"].mean == pytest.approx(1, abs=0.05)


def test_one_split_or_epochs_without_all_units_change_nothing() -> None:
    arms = [arm("a", 10), arm("b", 10)]
    one = [epochs("a", [10], [1.0]), epochs("b", [10], [2.0])]
    assert compare_arms(arms, one, is_rate=False) == {}
    fewer = [epochs("a", [5, 4], [1.0, 1.0]), epochs("b", [5, 5], [2.0, 2.0])]
    assert compare_arms(arms, fewer, is_rate=False) == {}
    assert compare_arms([], [], is_rate=False) == {}
