"""Arms are compared within the epochs of a split that moved; worked out by hand with numpy."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.experiments.decision.comparing import compare_arm
from tasks.experiments.decision.evidence import Cell, Epoch, Measured, Pair
from tasks.experiments.decision.winner import decide_winner
from tests.unit.decisions import arm, code, evidence, guardrail, measured, outcomes

Values = NDArray[np.float64]
# Units of control and red in three epochs, and what everybody spent then: only the mood moves.
SPLITS, MOODS = ((1000, 1000), (200, 1800), (1900, 100)), (10.0, 60.0, 5.0)


def drawn(effect: float = 0.0) -> list[tuple[Values, Values]]:
    """Values of control and red, epoch by epoch; the standard deviation is 3."""
    draw = np.random.default_rng(20261121)
    return [
        (draw.normal(mood, 3, control), draw.normal(mood + effect, 3, red))
        for (control, red), mood in zip(SPLITS, MOODS, strict=True)
    ]


def cell(values: Values, **beside: Pair) -> Cell:
    """An arm's moments in one epoch."""
    mean = float(values.mean())
    return Cell(n=len(values), mean=mean, m2=float(((values - mean) ** 2).sum()), **beside)


def moved(values: list[tuple[Values, Values]], **changes: Any) -> Measured:
    """A metric with its arms as a whole and by epoch."""
    epochs = tuple(
        Epoch(
            number=number,
            traffic=len(control) + len(red),
            arms={"control": cell(control), "red": cell(red)},
        )
        for number, (control, red) in enumerate(values, start=1)
    )
    whole = [np.concatenate(part) for part in zip(*values, strict=True)]
    control, red = (
        arm(name, found.mean, found.n, m2=found.m2)
        for name, found in zip(("control", "red"), map(cell, whole), strict=True)
    )
    return measured(red, control=control, epochs=epochs, **changes)


def test_a_split_that_follows_the_mood_makes_no_difference_between_equal_arms() -> None:
    """Pooled, the arm that got the good epoch seems 35 ahead: 50 standard errors."""
    metric = moved(drawn())
    pooled = compare_arm(metric.model_copy(update={"epochs": ()}), metric.treatments[0], 0.05)
    within = compare_arm(metric, metric.treatments[0], 0.05)
    assert (pooled.found.z or 0) > 30
    assert abs(within.test.z or 9) < 3
    assert abs(within.found.difference or 9) < 3 * (within.found.standard_error or 0)


def test_the_reported_difference_weighs_each_epoch_by_its_traffic() -> None:
    values = drawn(effect=2.0)
    metric = moved(values)
    found = compare_arm(metric, metric.treatments[0], 0.05).found
    traffic = np.array([sum(split) for split in SPLITS])
    gaps = np.array([red.mean() - control.mean() for control, red in values])
    errors = np.array([red.var(ddof=1) / len(red) + c.var(ddof=1) / len(c) for c, red in values])
    assert found.difference == pytest.approx(float(traffic @ gaps) / traffic.sum())
    assert found.standard_error == pytest.approx(sqrt(float(traffic**2 @ errors)) / traffic.sum())


def test_the_test_weighs_each_epoch_so_that_its_information_is_its_traffic() -> None:
    values = drawn(effect=0.3)
    metric = moved(values)
    test = compare_arm(metric, metric.treatments[0], 0.05).test
    units = np.array(SPLITS, dtype=float)
    weights = np.sqrt(units.sum(axis=1) * units.prod(axis=1) / units.sum(axis=1))
    gaps = np.array([red.mean() - control.mean() for control, red in values])
    spread = np.array([np.concatenate(pair).var(ddof=1) for pair in values])  # as of one arm
    errors = spread * (1 / units).sum(axis=1)
    z = float(weights @ gaps) / sqrt(float(weights**2 @ errors))
    assert test.z == pytest.approx(z, rel=5e-3)


def test_a_ratio_to_a_constant_is_compared_within_epochs_like_the_mean() -> None:
    values = drawn(effect=1.0)
    metric = moved(values)
    one = Pair(mean=1.0, m2=0.0, c2=0.0)
    of_ratio = metric.model_copy(
        update={
            "kind": "ratio",
            "control": metric.control.model_copy(update={"denominator": one}),
            "treatments": tuple(
                each.model_copy(update={"denominator": one}) for each in metric.treatments
            ),
            "epochs": tuple(
                epoch.model_copy(
                    update={
                        "arms": {
                            name: found.model_copy(update={"denominator": one})
                            for name, found in epoch.arms.items()
                            if found is not None
                        }
                    }
                )
                for epoch in metric.epochs
            ),
        }
    )
    mean, ratio = (compare_arm(each, each.treatments[0], 0.05) for each in (metric, of_ratio))
    assert ratio.found.difference == pytest.approx(mean.found.difference)
    assert ratio.test.z == pytest.approx(mean.test.z, rel=5e-2)  # Wald beside the score test


def test_an_arm_that_was_switched_off_in_all_epochs_of_the_other_cannot_be_compared() -> None:
    (control, _), (_, red) = drawn()[:2]
    epochs = (
        Epoch(number=1, traffic=1000, arms={"control": cell(control), "red": None}),
        Epoch(number=2, traffic=1800, arms={"control": None, "red": cell(red)}),
    )
    metric = measured(arm("red", 60), control=arm("control", 10), epochs=epochs)
    assert compare_arm(metric, metric.treatments[0], 0.05).found.z is None


def test_the_rule_crowns_nobody_for_the_mood_and_says_in_how_many_epochs_it_looked() -> None:
    metric = moved(drawn())
    pooled = metric.model_copy(update={"epochs": ()})
    wrong = decide_winner(evidence(primary=pooled, planned_units=6000))
    right = decide_winner(evidence(primary=metric, planned_units=6000))
    assert (wrong.verdict, right.verdict) == ("winner", "none")
    assert right.details["epochs"] == 3
    assert "epochs" not in wrong.details


@pytest.mark.parametrize("method", ["group_sequential", "confidence_sequence", "bayesian", "fixed"])
def test_a_real_difference_is_found_within_epochs_by_every_method(method: str) -> None:
    metric = moved(drawn(effect=2.0))
    verdict = decide_winner(evidence(primary=metric, planned_units=6000, method=method))
    assert verdict.details["winner"] == "red"
    [row] = verdict.details["arms"]
    assert row["difference"] == pytest.approx(2.0, abs=0.4)
    assert row["sequential_lower"] is None or row["sequential_lower"] > 0


def test_a_guardrail_is_judged_within_epochs_too() -> None:
    """Pooled, red would look 6 times as slow: it got the units of the slow epoch."""
    slow = moved(drawn(), name="speed", role="guardrail", margin=0.1, is_higher_better=False)
    primary = measured(arm("red", 55.0))
    verdict = decide_winner(evidence(primary=primary, guardrails=(slow,)))
    pooled = decide_winner(
        evidence(primary=primary, guardrails=(slow.model_copy(update={"epochs": ()}),))
    )
    assert (verdict.verdict, code(pooled)) == ("winner", "guardrail-failed")
    assert outcomes(verdict) == {"red": "better"}
    assert guardrail(arm("red", 50.0)).epochs == ()
