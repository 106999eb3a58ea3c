"""Segments and days within the epochs of a split that moved; and bandits drawn by the dozen.

The quick form of `python -m benchmarks.adaptive_segments`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.adaptive_segments import Segmented, days_found, segments_found
from tasks.experiments.decision.evidence import Cell, Epoch
from tasks.experiments.segments.effects import segments_of
from tasks.experiments.segments.evidence import SegmentCell, SegmentEpochs, SegmentEvidence
from tasks.experiments.statistics.moments import sample_mean

SEED = 3
ARMS = ("control", "a", "b")


def _cell(rng: np.random.Generator, n: int, shift: float = 0.0) -> Cell:
    moments = sample_mean(rng.normal(shift, 1, n).tolist())
    return Cell(n=n, mean=moments.mean, m2=moments.m2)


def _evidence(levels: dict[tuple[str, str], list[dict[str, Cell | None]]]) -> SegmentEvidence:
    """By dimension and level the arms of each epoch; as a whole an arm is its last epoch."""
    return SegmentEvidence(
        metric="spend",
        role="primary",
        kind="mean",
        alpha=0.05,
        is_higher_better=True,
        control="control",
        treatments=("a", "b"),
        cells=tuple(
            SegmentCell(dimension=dimension, level=level, arm=arm, cell=cell)
            for (dimension, level), epochs in levels.items()
            for arm, cell in epochs[-1].items()
            if cell is not None
        ),
        epochs=tuple(
            SegmentEpochs(
                dimension=dimension,
                level=level,
                epochs=tuple(
                    Epoch(number=n, traffic=sum(c.n for c in arms.values() if c), arms=arms)
                    for n, arms in enumerate(epochs, start=1)
                ),
            )
            for (dimension, level), epochs in levels.items()
        ),
    )


def test_one_epoch_is_the_whole() -> None:
    """Also the families of Holm: tests over all dimensions and arms, effects over a dimension's."""
    rng = np.random.default_rng(SEED)
    levels: dict[tuple[str, str], list[dict[str, Cell | None]]] = {
        (dimension, str(level)): [
            {arm: _cell(rng, 200, 0.2 * level * (arm == "a")) for arm in ARMS}
        ]
        for dimension, count in (("x", 2), ("y", 3))
        for level in range(count)
    }
    moved = _evidence(levels)
    within = segments_of(moved)
    whole = segments_of(moved.model_copy(update={"epochs": ()}))
    assert (within.is_within_epochs, whole.is_within_epochs) == (True, False)
    adjusted: list[Any] = [[each.p_adjusted for each in told.effects] for told in (within, whole)]
    assert adjusted[0] == pytest.approx(adjusted[1])
    key = {(each.dimension, each.arm): each for each in within.tests}
    for test in whole.tests:
        other = key[test.dimension, test.arm]
        assert (other.levels, other.finding) == (test.levels, test.finding)
        assert other.p_adjusted == pytest.approx(test.p_adjusted, rel=0.01)


def test_only_epochs_with_both_arms_count_and_the_rest_says_so() -> None:
    rng = np.random.default_rng(SEED)
    early: dict[str, Cell | None] = {"control": _cell(rng, 150), "a": _cell(rng, 150), "b": None}
    late: dict[str, Cell | None] = {"control": None, "a": None, "b": _cell(rng, 150)}
    both: dict[str, Cell | None] = {arm: _cell(rng, 60) for arm in ARMS}
    told = segments_of(
        _evidence({("x", "apart"): [early, late, both], ("x", "never"): [early, late]})
    )
    found = {(each.level, each.arm): each for each in told.effects}
    assert found["apart", "a"].difference is not None
    assert found["apart", "b"].note == "fewer than 100 units in an arm"
    assert found["never", "b"].note == "no units in an arm while both were on offer"
    assert {test.finding for test in told.tests} == {"unknown"}
    assert {test.left_out for test in told.tests} == {("apart", "never"), ("never",)}


def test_effects_of_segments_are_right_where_pooled_ones_are_far_off() -> None:
    found = segments_found(Segmented(effect=0.01, steps=24, units=3_500), 60, SEED)
    assert found.is_within(60, is_biased=True), found
    assert found.pooled_told > 0.3


def test_effects_that_last_do_not_fade_where_the_split_has_moved() -> None:
    found = days_found(0.3, 40, SEED, intakes=6)
    assert found.is_within(40, is_biased=True), found
    assert found.pooled_told > 0.3
