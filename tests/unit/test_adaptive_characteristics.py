"""Bandits drawn by the hundred: unbiased effects, and few false findings however traffic moves.

The quick form of `python -m benchmarks.adaptive_simulations`.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.adaptive_courses import Course, World, draw, of_rates, reallocated
from benchmarks.adaptive_simulations import (
    LEAST_POOLED_BIAS,
    MOST_BIAS,
    bias,
    designs,
    factorial_errors,
    false_found,
    most_errors,
)
from benchmarks.allocating import Known
from tasks.experiments.bandits.allocation import allocate_many
from tasks.experiments.bandits.evidence import AllocationEvidence, BanditArm, BanditPolicy
from tasks.experiments.quality.model import QualityCheck

SEED = 7
TWO = World((0.05, 0.05), steps=48, units=1_750)  # two weeks, moved every seven hours
FIVE = World((0.05,) * 5, steps=24, units=3_500)


@pytest.fixture(scope="module", params=[(TWO, 400), (FIVE, 120)], ids=["two arms", "five arms"])
def equal_arms(request: pytest.FixtureRequest) -> Course:
    world, runs = request.param
    return draw(world, runs, SEED, looks=12)


def test_effects_are_right_where_pooled_ones_are_far_off() -> None:
    found = bias(World((0.05, 0.06), 1.0, TWO.steps, TWO.units), 250, SEED)
    assert abs(found.pooled) > LEAST_POOLED_BIAS
    assert abs(found.stratified) <= MOST_BIAS
    assert found.coverage >= 0.95 - 2 * found.coverage_error


@pytest.mark.parametrize("method", ["group_sequential", "confidence_sequence", "fixed"])
def test_equal_arms_are_hardly_ever_called_different(equal_arms: Course, method: str) -> None:
    assert false_found(equal_arms, method) <= most_errors(len(equal_arms.z))


def test_significant_at_some_look_is_wrong_several_times_as_often(equal_arms: Course) -> None:
    """The simulation can tell the difference."""
    assert false_found(equal_arms, "significant") > 0.12


def test_the_clock_of_the_test_is_the_traffic(equal_arms: Course) -> None:
    """Z at half of the traffic and at its end correlate as information fractions do: √½."""
    half = int(np.flatnonzero(equal_arms.fractions >= 0.5)[0])
    early, late = equal_arms.z[:, half].ravel(), equal_arms.z[:, -1].ravel()
    assert np.corrcoef(early, late)[0, 1] == pytest.approx(np.sqrt(0.5), abs=0.1)
    assert late.std() == pytest.approx(1, abs=0.1)


def test_drawn_deviates_are_those_of_the_function_itself(equal_arms: Course) -> None:
    arms = equal_arms.n.shape[2]
    for run in range(15):
        for arm in range(1, arms):
            z = equal_arms.stratified(run, arm).test.z
            assert equal_arms.z[run, -1, arm - 1] == pytest.approx(z, abs=1e-9)


def test_drawn_traffic_moves_as_the_rule_moves_it() -> None:
    rng = np.random.default_rng(SEED)
    n = rng.integers(60, 900, (60, 3))
    successes = rng.binomial(n, 0.02)
    weights = rng.dirichlet((2, 2, 2), 60)
    policy = BanditPolicy()
    known = Known.nothing(60, 3)
    known.add(of_rates(n, successes), np.ones(60, dtype=np.bool_))
    moved = reallocated(policy, known, weights)
    checks = (QualityCheck(name="srm", outcome="passed"),)
    ruled = allocate_many(
        [
            AllocationEvidence(
                experiment="drawn",
                metric="value",
                is_rate=True,
                policy=policy,
                checks=checks,
                arms=tuple(
                    BanditArm(name=str(arm), weight=w, n=units, mean=hits / units)
                    for arm, (w, units, hits) in enumerate(zip(*row, strict=True))
                ),
            )
            for row in zip(weights.tolist(), n.tolist(), successes.tolist(), strict=True)
        ]
    )
    expected = np.array([list(verdict.details["weights"].values()) for verdict in ruled])
    is_warm = n.min(axis=1) >= policy.warm_up_units
    assert moved == pytest.approx(expected, abs=1e-8)
    assert 0.3 < is_warm.mean() < 1


@pytest.mark.parametrize("number", range(3))
def test_designs_without_effects_hardly_ever_show_one(number: int) -> None:
    _, design = list(designs())[number]
    main, interactions = factorial_errors(design, 200, 200, SEED)
    assert main <= most_errors(200)
    assert interactions <= most_errors(200)
