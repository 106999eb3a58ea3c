"""What becomes of an effect over the days since exposure, and how often luck speaks."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.errors import UnknownName
from tasks.experiments.exposure.evidence import ExposedArm, Trend
from tasks.experiments.exposure.trend import effects_by_day, trends, weights_of
from tasks.experiments.statistics.moments import SampleMean
from tasks.experiments.statistics.multiplicity import holm
from tasks.experiments.statistics.ratios import JointMoments

Floats = NDArray[np.floating[Any]]
DAYS = 8


def arm(name: str, table: Floats) -> ExposedArm:
    """From the values of units on days."""
    units, days = table.shape
    middle, spread = weights_of(0, days)
    slopes = table @ ((np.arange(days) - middle) / spread)
    held = [
        JointMoments(
            units, float(day.mean()), float(((day - day.mean()) ** 2).sum()), 1.0, 0.0, 0.0
        )
        for day in table.T
    ]
    squares = float(((slopes - slopes.mean()) ** 2).sum())
    return ExposedArm(name, units, tuple(held), SampleMean(units, float(slopes.mean()), squares))


def values(rng: np.random.Generator, units: int, effect: Floats | float = 0.0) -> Floats:
    """A habit of each unit, and bursts: what it does today it does tomorrow too."""
    noise = rng.normal(0, 1, (units, DAYS))
    for day in range(1, DAYS):
        noise[:, day] = 0.8 * noise[:, day - 1] + 0.6 * noise[:, day]
    return np.asarray(5 + rng.normal(0, 1, (units, 1)) + noise + effect)


def told(*effects: Floats | float, units: int = 4_000, alpha: float = 0.05) -> list[Trend]:
    rng = np.random.default_rng(21)
    control = arm("control", values(rng, units))
    arms = [arm(f"arm-{n}", values(rng, units, effect)) for n, effect in enumerate(effects)]
    return trends("mean", control, arms, 0, alpha)


def test_an_effect_that_wears_off_fades_and_one_that_is_learned_grows() -> None:
    days = np.arange(DAYS)
    wears_off, learned = told(1.5 * 0.6**days, 0.2 * days)
    assert (wears_off.outcome, learned.outcome) == ("fades", "grows")
    assert wears_off.message.startswith("the effect of arm-0 fades: +")
    assert wears_off.span == 3
    assert wears_off.early == pytest.approx(1.5 * (1 + 0.6 + 0.36) / 3, abs=0.1)
    assert wears_off.late == pytest.approx(0.0762, abs=0.1)
    assert learned.change == pytest.approx(1.4, abs=0.1)


def test_a_loss_that_wears_off_fades_too_and_a_change_of_sign_is_named() -> None:
    days = np.arange(DAYS)
    loss, turned = told(-1.5 * 0.8**days, 0.2 * days - 0.4)
    assert loss.outcome == "fades"
    assert "another sign" not in loss.message
    assert turned.message.endswith(", with another sign")


def test_steady_is_only_what_would_have_shown() -> None:
    large, small = told(1.0, 0.03)
    assert large.outcome == "steady"
    assert max(abs(large.lower or 9), abs(large.upper or 9)) < (large.average or 0)
    assert small.outcome == "unknown"
    assert "may be anything from -" in small.message


def test_arms_share_one_error() -> None:
    found = told(0.1, 0.1 * np.arange(DAYS), 0.0)
    raw = [each.p_value or 0 for each in found]
    assert [each.p_adjusted for each in found] == pytest.approx(holm(raw))


def test_too_few_units_or_days_and_days_without_values_are_unknown() -> None:
    rng = np.random.default_rng(1)
    (few,) = told(3.0, units=99)
    assert (few.outcome, few.p_value) == ("unknown", None)
    assert "fewer than 100 units" in few.message
    assert few.average == pytest.approx(3.0, abs=0.5)
    short = [arm(name, values(rng, 500)[:, :2]) for name in ("control", "red")]
    assert "fewer than 3 days" in trends("mean", short[0], short[1:], 0, 0.05)[0].message
    empty = ExposedArm(
        "red", 500, (JointMoments(0, 0, 0, 0, 0, 0),) * DAYS, SampleMean(500, 0.0, 0.0)
    )
    (none,) = trends("mean", arm("control", values(rng, 500)), [empty], 0, 0.05)
    assert "nobody has a value" in none.message
    assert none.average is None
    (day, *_) = effects_by_day("mean", arm("control", values(rng, 500)), [empty], 2, 0.05)
    assert (day.day, day.value, day.difference) == (2, None, None)


def test_a_kind_that_nobody_knows_is_an_error() -> None:
    known = arm("control", values(np.random.default_rng(2), 200))
    with pytest.raises(UnknownName):
        effects_by_day("guess", known, [known], 0, 0.05)


def test_effects_that_last_are_hardly_ever_said_to_fade_or_grow() -> None:
    """Two arms, the one with an effect that lasts, and units that do things in bursts.

    Simulated, with its standard error.
    """
    rng = np.random.default_rng(22)
    runs, wrong = 400, 0
    for _ in range(runs):
        control, *arms = (
            arm(name, values(rng, 120, effect))
            for name, effect in (("c", 0.0), ("a", 0.5), ("b", 0.0))
        )
        found = trends("mean", control, arms, 0, 0.05)
        wrong += any(each.outcome in ("fades", "grows") for each in found)
    assert wrong / runs <= 0.05 + 2 * sqrt(0.05 * 0.95 / runs)
