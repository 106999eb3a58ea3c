"""Effects by segment: by the metric's kind, tested as a family, and unknown where they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from tasks.errors import UnknownName
from tasks.experiments.decision.evidence import Cell, Pair
from tasks.experiments.segments.effects import segments_of
from tasks.experiments.segments.estimates import estimates
from tasks.experiments.segments.evidence import MetricSegments, SegmentCell, SegmentEvidence
from tasks.experiments.statistics.cuped import compare_adjusted
from tasks.experiments.statistics.estimates import compare
from tasks.experiments.statistics.moments import sample_mean
from tasks.experiments.statistics.multiplicity import holm
from tasks.experiments.statistics.ratios import joint_moments

Floats = NDArray[np.float64]


def rate(n: int, successes: int) -> Cell:
    mean = successes / n if n else 0.0
    return Cell(n=n, mean=mean, m2=n * mean * (1 - mean))


def of_values(values: Floats, other: Floats | None = None, name: str = "covariate") -> Cell:
    moments = sample_mean(values.tolist())
    fields: dict[str, Any] = {}
    if other is not None:
        joint = joint_moments(zip(values.tolist(), other.tolist(), strict=True))
        fields[name] = Pair(mean=joint.other_mean, m2=joint.other_m2, c2=joint.co_m2)
    return Cell(n=moments.n, mean=moments.mean, m2=moments.m2, **fields)


def evidence(
    levels: Mapping[tuple[str, str], Sequence[Cell | None]], **changes: Any
) -> SegmentEvidence:
    """Cells by dimension and level: the control, then a and b."""
    names = ("control", "a", "b")
    cells = [
        SegmentCell(dimension=dimension, level=level, arm=arm, cell=cell)
        for (dimension, level), row in levels.items()
        for arm, cell in zip(names, row, strict=False)
        if cell is not None
    ]
    count = max((len(row) for row in levels.values()), default=2)
    fields: dict[str, Any] = {"metric": "signup", "role": "primary", "kind": "proportion"}
    fields |= {"alpha": 0.05, "is_higher_better": True, "control": "control"}
    fields |= {"treatments": names[1:count], "cells": cells}
    return SegmentEvidence.model_validate(fields | changes)


def found(
    levels: Mapping[tuple[str, str], Sequence[Cell | None]], **changes: Any
) -> MetricSegments:
    return segments_of(evidence(levels, **changes))


def test_levels_are_compared_and_tested_as_scipy_and_a_hand_formula_do() -> None:
    counts = {"phone": (1_000, 100, 900, 150), "desktop": (800, 90, 1_100, 110)}
    told = found(
        {("device", name): (rate(n, c), rate(m, t)) for name, (n, c, m, t) in counts.items()}
    )
    differences, errors, p_values, parts = [], [], [], []
    for name, (n, c, m, t) in counts.items():
        p, q = c / n, t / m
        error = sqrt(p * (1 - p) / (n - 1) + q * (1 - q) / (m - 1))
        (effect,) = [each for each in told.effects if each.level == name]
        assert effect.difference == pytest.approx(q - p)
        assert effect.p_value == pytest.approx(2 * stats.norm.sf(abs(q - p) / error), rel=0.1)
        assert (effect.control_units, effect.units, effect.note) == (n, m, "")
        differences.append(q - p)
        errors.append(error)
        parts += [(p * (1 - p) / (n - 1), n - 1), (q * (1 - q) / (m - 1), m - 1)]
        p_values.append(effect.p_value or 0)
    weights = np.array(errors) ** -2
    mean = weights @ differences / weights.sum()
    expected = float(weights @ (np.array(differences) - mean) ** 2)
    (test,) = told.tests
    assert test.q == pytest.approx(expected)
    # Of two levels it is Welch's t test of the difference of differences.
    dof = sum(part for part, _ in parts) ** 2 / sum(part**2 / of for part, of in parts)
    assert test.p_value == pytest.approx(2 * stats.t.sf(sqrt(expected), dof))
    assert (test.finding, test.levels, test.left_out) == ("differs", 2, ())
    by_level = {each.level: each.p_adjusted for each in told.effects}
    assert [by_level[name] for name in counts] == pytest.approx(holm(p_values))
    assert {each.level: each.outcome for each in told.effects} == {
        "phone": "better",
        "desktop": "open",
    }


def test_a_fall_is_good_where_lower_is_better() -> None:
    fallen = {("device", "phone"): (rate(900, 200), rate(900, 100))}
    (effect,) = found(fallen, is_higher_better=False).effects
    assert effect.outcome == "better"
    (effect,) = found(fallen).effects
    assert effect.outcome == "harm"


def test_means_ratios_and_adjusted_means_are_those_of_their_kind() -> None:
    rng = np.random.default_rng(3)
    before = [rng.normal(10, 3, 400) for _ in range(2)]
    values = [
        each + rng.normal(0, 1, 400) + shift for each, shift in zip(before, (0, 0.4), strict=True)
    ]
    views = [rng.integers(1, 12, 400).astype(float) for _ in range(2)]
    (mean,) = found({("d", "x"): [of_values(v) for v in values]}, kind="mean").effects
    welch = stats.ttest_ind(values[1], values[0], equal_var=False)
    assert mean.p_value == pytest.approx(welch.pvalue)
    assert (mean.lower, mean.upper) == pytest.approx(tuple(welch.confidence_interval()))

    adjusted = [of_values(v, b) for v, b in zip(values, before, strict=True)]
    (cuped,) = found({("d", "x"): adjusted}, kind="mean").effects
    joint = [
        joint_moments(zip(v.tolist(), b.tolist(), strict=True))
        for v, b in zip(values, before, strict=True)
    ]
    expected = compare_adjusted(joint[0], joint[1])
    assert cuped.difference == pytest.approx(expected.difference)
    assert cuped.p_value == pytest.approx(expected.p_value)
    assert (cuped.p_value or 1) < (mean.p_value or 0)

    cells = [of_values(v, d, "denominator") for v, d in zip(values, views, strict=True)]
    (ratio,) = found({("d", "x"): cells}, kind="ratio").effects
    sums = [v.sum() / d.sum() for v, d in zip(values, views, strict=True)]
    spread = [
        np.var(v - r * d, ddof=1) / d.mean() ** 2 / len(v)
        for v, d, r in zip(values, views, sums, strict=True)
    ]
    assert ratio.difference == pytest.approx(sums[1] - sums[0])
    assert (ratio.control_value, ratio.value) == pytest.approx(tuple(sums))
    z = (sums[1] - sums[0]) / sqrt(sum(spread))
    assert ratio.p_value == pytest.approx(2 * stats.norm.sf(abs(z)), rel=0.1)


def test_theta_of_an_adjusted_level_is_that_of_all_its_arms() -> None:
    rng = np.random.default_rng(4)
    before = [rng.normal(0, 1, 300) for _ in range(3)]
    values = [
        2 * b + rng.normal(shift, 1, 300) for b, shift in zip(before, (0, 0.1, 3), strict=True)
    ]
    arms = {name: of_values(v, b).moments for name, v, b in zip("cab", values, before, strict=True)}
    theta = np.cov(np.concatenate(values), np.concatenate(before))[0, 1]
    theta /= np.var(np.concatenate(before), ddof=1)
    for name, value in estimates("mean", arms).items():
        raw = values["cab".index(name)] - theta * before["cab".index(name)]
        assert value.variance == pytest.approx(raw.var(ddof=1))
    told = estimates("mean", arms)
    gap = (values[2] - theta * before[2]).mean() - (values[0] - theta * before[0]).mean()
    assert told["b"].value - told["c"].value == pytest.approx(gap)
    assert compare(told["c"], told["b"]).difference == pytest.approx(gap)


def test_remainders_are_shown_and_not_tested() -> None:
    told = found(
        {
            ("country", "(none)"): (rate(9_000, 900), rate(9_000, 4_500)),
            ("country", "(other)"): (rate(9_000, 900), rate(9_000, 10)),
            ("country", "at"): (rate(500, 50), rate(500, 52)),
            ("country", "de"): (rate(700, 70), rate(700, 71)),
        }
    )
    assert [each.level for each in told.effects] == ["de", "at", "(none)", "(other)"]
    assert [each.is_tested for each in told.effects] == [True, True, False, False]
    assert told.effects[2].difference == pytest.approx(0.4)
    assert told.effects[2].note == "units that do not say it: shown, not tested"
    (test,) = told.tests
    assert (test.finding, test.levels, test.left_out) == ("none-seen", 2, ())
    assert (test.p_adjusted or 0) > 0.9


def test_what_is_too_small_is_unknown_and_says_why() -> None:
    told = found(
        {
            ("plan", "large"): (rate(500, 50), rate(500, 60)),
            ("plan", "few"): (rate(99, 50), rate(99, 2)),
            ("plan", "rare"): (rate(400, 4), rate(400, 40)),
            ("plan", "one-sided"): (rate(400, 40), None),
            ("plan", "half"): (None, rate(400, 40)),
        }
    )
    notes = {each.level: each.note for each in told.effects}
    assert notes["large"] == ""
    assert notes["few"] == "fewer than 100 units in an arm"
    assert notes["rare"] == "fewer than 5 units of an arm did it, or did not"
    assert notes["one-sided"] == notes["half"] == "no units in an arm"
    for each in told.effects[1:]:
        assert (each.difference, each.p_value, each.p_adjusted) == (None, None, None)
    (test,) = told.tests
    assert (test.finding, test.q, test.levels) == ("unknown", None, 0)
    assert {*test.left_out} == {"few", "rare", "one-sided", "half"}
    assert "fewer than 2 levels are large enough" in test.message


def test_a_dimension_without_any_usable_level_is_still_there() -> None:
    told = found({("plan", "few"): (rate(9, 5), rate(9, 2)), ("day", "(none)"): (rate(9, 5),)})
    assert [(test.dimension, test.finding) for test in told.tests] == [
        ("day", "unknown"),
        ("plan", "unknown"),
    ]


def test_what_cannot_be_broken_down_says_so() -> None:
    levels = {("d", "x"): (rate(900, 90), rate(900, 99))}
    quantile = found(levels, kind="quantile")
    assert (quantile.tests, quantile.effects) == ((), ())
    assert "a quantile of a segment does not follow" in quantile.problem
    assert found(levels, problem="the split has moved").problem == "the split has moved"
    with pytest.raises(UnknownName, match="metric kind"):
        found(levels, kind="guess")


def test_figures_that_doubles_cannot_hold_are_unknown() -> None:
    huge = Cell(n=500, mean=1e200, m2=1e300, covariate=Pair(mean=0, m2=1e-300, c2=1e200))
    (effect,) = found({("d", "x"): (huge, huge)}, kind="mean").effects
    assert effect.p_value is None


@pytest.mark.parametrize("shift", [0.0, 0.06])
def test_equal_effects_hardly_ever_look_different(shift: float) -> None:
    """Two dimensions (3 and 12 levels), two arms, splits of 4 to 1: the family's error is alpha.

    With an effect that is the same everywhere, or with none; simulated, with its standard error.
    """
    rng = np.random.default_rng(7)
    runs, differing = 120, 0
    for _ in range(runs):
        levels = {
            (dimension, str(number)): (
                rate(4 * n, int(rng.binomial(4 * n, base))),
                rate(n, int(rng.binomial(n, base + shift))),
                rate(n, int(rng.binomial(n, base))),
            )
            for dimension, count in (("x", 3), ("y", 12))
            for number, (n, base) in enumerate(
                zip(rng.integers(150, 600, count), rng.uniform(0.05, 0.3, count), strict=True)
            )
        }
        differing += any(test.finding == "differs" for test in found(levels).tests)
    assert differing / runs <= 0.05 + 2 * sqrt(0.05 * 0.95 / runs)
