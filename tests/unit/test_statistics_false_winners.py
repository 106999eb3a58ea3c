"""How often is a winner named where there is none? Whole experiments, simulated under the null."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.experiments.decision.evidence import Arm, Look, Measured, Plan, Terms, WinnerEvidence
from tasks.experiments.decision.winner import decide_winner
from tasks.experiments.quality.model import QualityCheck
from tasks.experiments.statistics.sequential import group_sequential_bounds

RUNS = 20_000
PER_ARM = 4_000
RATE = 0.1
# Two days of hourly looks at first, then irregular ones: the schedule must not matter.
FRACTIONS = np.array([*np.arange(1, 13) / 40, 0.35, 0.5, 0.52, 0.75, 0.9, 1.0])


@pytest.fixture(scope="module")
def deviates() -> NDArray[np.float64]:
    """Pooled z of two treatments against a control, all alike: runs × arms × looks."""
    rng = np.random.default_rng(20261120)
    units = np.round(FRACTIONS * PER_ARM).astype(int)
    new = np.diff(units, prepend=0)
    conversions = rng.binomial(new, RATE, size=(RUNS, 3, len(new))).cumsum(axis=2)
    control, treatments = conversions[:, :1], conversions[:, 1:]
    pooled = (control + treatments) / (2 * units)
    error = np.sqrt(pooled * (1 - pooled) * 2 / units)
    z: NDArray[np.float64] = (treatments - control) / units / error
    return z


def _crossed(z: NDArray[np.float64], alpha: float) -> NDArray[np.bool_]:
    bounds = np.array([bound.z for bound in group_sequential_bounds(list(FRACTIONS), alpha)])
    return np.asarray((np.abs(z) >= bounds).any(axis=2))


def test_some_arm_is_called_significant_at_most_as_often_as_alpha(
    deviates: NDArray[np.float64],
) -> None:
    alpha = 0.05
    rate = _crossed(deviates, alpha / 2).any(axis=1).mean()
    standard_error = np.sqrt(alpha * (1 - alpha) / RUNS)
    assert rate <= alpha + 2 * standard_error
    # Holm wastes little here: the two comparisons share their control.
    assert rate >= 0.03


def test_an_arm_alone_is_called_significant_as_often_as_alpha(
    deviates: NDArray[np.float64],
) -> None:
    rate = _crossed(deviates[:, :1], 0.05).mean()
    assert rate == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / RUNS))


def test_the_plain_test_at_every_look_would_be_wrong_several_times_as_often(
    deviates: NDArray[np.float64],
) -> None:
    assert (np.abs(deviates) >= 1.96).any(axis=(1, 2)).mean() > 0.25


def test_the_rule_decides_as_the_vectorised_simulation_does(
    deviates: NDArray[np.float64],
) -> None:
    significant = np.asarray(_crossed(deviates, 0.025).any(axis=1))
    chosen = [*np.flatnonzero(significant)[:15], *np.flatnonzero(~significant)[:5]]
    for run in chosen:
        evidence = _evidence(deviates[run])
        arms = decide_winner(evidence).details["arms"]
        assert any(arm["crossed_ever"] for arm in arms) == significant[run]


def _evidence(z: NDArray[np.float64]) -> WinnerEvidence:
    names = ("a", "b")
    looks = tuple(
        Look(
            number=index + 1,
            fraction=fraction,
            z={name: float(z[arm, index]) for arm, name in enumerate(names)},
        )
        for index, fraction in enumerate(FRACTIONS)
    )
    control, first, second = (
        Arm(name=name, weight=1 / 3, assigned=PER_ARM, n=PER_ARM, mean=RATE, m2=360.0)
        for name in ("control", *names)
    )
    return WinnerEvidence(
        experiment="a/a",
        plan=Plan(terms=Terms(alpha=0.05, planned_units=3 * PER_ARM), minimum_per_arm=100),
        primary=Measured(
            name="conversion",
            role="primary",
            kind="proportion",
            control=control,
            treatments=(first, second),
        ),
        look_number=len(looks) + 1,
        looks=looks,
        checks=(QualityCheck(name="data-quality", outcome="passed"),),
    )
