"""The rule of the interaction scan, on cells made up by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.experiments.interactions.judging import interactions, judge_pairs
from tasks.experiments.interactions.model import (
    Cell,
    Denominator,
    MeasuredCells,
    Met,
    ScanEvidence,
    SharedUnits,
)

Means = dict[tuple[str, str], float]
ADDED: Means = {
    ("control", "plain"): 10.0,
    ("red", "plain"): 11.0,
    ("control", "dear"): 12.0,
    ("red", "dear"): 13.0,
}


def pair(means: Means, n: int = 1000, kind: str = "mean", **changes: Any) -> SharedUnits:
    """Cells of so many units each, whose values have variance 4."""
    cells = tuple(
        Cell(first_arm=first, second_arm=second, n=n, mean=mean, m2=4.0 * (n - 1))
        for (first, second), mean in means.items()
    )
    fields: dict[str, Any] = {
        "first": "buttons",
        "second": "prices",
        "first_arms": ("control", "red", "off"),
        "second_arms": ("plain", "dear"),
        "met": tuple(Met(first_arm=a, second_arm=b, units=n) for a, b in means),
        "measured": (MeasuredCells(experiment="buttons", metric="spend", kind=kind, cells=cells),),
    }
    return SharedUnits(**(fields | changes))


def evidence(*pairs: SharedUnits) -> ScanEvidence:
    return ScanEvidence(alpha=0.01, overlapping=len(pairs), pairs=pairs)


def test_effects_that_add_up_are_left_alone() -> None:
    verdict = interactions(evidence(pair(ADDED)))
    assert (verdict.verdict, verdict.reasons) == ("none", ())


def test_an_interaction_is_named_with_its_arms_and_size() -> None:
    verdict = interactions(evidence(pair(ADDED | {("red", "dear"): 11.0})))
    # Four cells of variance 4 / 1000 each: the difference of differences of -2 is 16 errors.
    [reason] = verdict.reasons
    assert (verdict.verdict, reason.code) == ("interactions", "interacts")
    assert "red with dear gives -2 beside the sum of both" in reason.message


def test_more_pairs_make_the_same_figures_less_telling() -> None:
    odd = pair(ADDED | {("red", "dear"): 12.64})  # 2.85 errors: p = 0.0044
    assert judge_pairs(evidence(odd))[0].outcome == "interacts"
    others = [pair(ADDED, second=f"other-{n}") for n in range(2)]
    assert judge_pairs(evidence(odd, *others))[0].outcome == "adds-up"


def test_an_arm_that_shared_units_never_got_takes_no_part() -> None:
    [found] = judge_pairs(evidence(pair(ADDED)))
    assert [each.first_arm for each in found.metrics[0].differences] == ["red"]


def test_one_arm_alone_tells_nothing() -> None:
    one = {arms: mean for arms, mean in ADDED.items() if arms[0] == "red"}
    [found] = judge_pairs(evidence(pair(one)))
    assert (found.outcome, found.metrics) == ("unknown", ())
    assert "one and the same arm" in found.message


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"n": 99}, "fewer than 100 units"),
        ({"moved": ("prices",)}, "the split of prices has moved"),
        ({"kind": "quantile"}, "a quantile cannot be compared in cells"),
    ],
)
def test_what_cannot_be_tested_is_unknown(changes: dict[str, Any], why: str) -> None:
    [found] = judge_pairs(evidence(pair(ADDED | {("red", "dear"): 99.0}, **changes)))
    assert found.outcome == "unknown"
    assert why in found.message


def test_a_ratio_is_compared_as_a_ratio() -> None:
    # Twice the clicks on twice the views: the same ratio in every cell, whatever the means do.
    cells = tuple(
        Cell(
            first_arm=first,
            second_arm=second,
            n=1000,
            mean=mean,
            m2=mean**2 * 400,
            denominator=Denominator(mean=2 * mean, m2=4 * mean**2 * 500, c2=2 * mean**2 * 300),
        )
        for (first, second), mean in (ADDED | {("red", "dear"): 40.0}).items()
    )
    measured = MeasuredCells(experiment="buttons", metric="ctr", kind="ratio", cells=cells)
    [found] = judge_pairs(evidence(pair(ADDED, measured=(measured,))))
    assert found.outcome == "adds-up"
    assert found.metrics[0].differences[0].value == pytest.approx(0, abs=1e-12)


def test_arms_that_meet_by_a_rule_come_before_effects() -> None:
    met = (
        Met(first_arm="control", second_arm="plain", units=600),
        Met(first_arm="control", second_arm="dear", units=400),
        Met(first_arm="red", second_arm="plain", units=400),
        Met(first_arm="red", second_arm="dear", units=600),
    )
    [found] = judge_pairs(evidence(pair(ADDED | {("red", "dear"): 11.0}, met=met)))
    assert found.outcome == "dependent"
