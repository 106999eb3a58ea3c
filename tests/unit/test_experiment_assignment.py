from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from tasks.bucketing import bucket
from tasks.errors import InputError, UnknownName
from tasks.experiments.assignment.choosing import salt_of
from tasks.experiments.assignment.ranges import first_ranges, variant_at
from tasks.experiments.definition.plan import ExperimentPlan
from tasks.experiments.metrics import metrics

WEIGHTS = [("control", 0.5), ("red", 0.3), ("blue", 0.2)]
SALT = salt_of("buttons")


def variant_for(unit: str, salt: str, weights: list[tuple[str, float]]) -> str:
    return variant_at(first_ranges(weights), bucket(salt, unit))


def test_a_unit_gets_the_share_its_bucket_falls_into() -> None:
    for unit in map(str, range(500)):
        place, got = bucket(SALT, unit), variant_for(unit, SALT, WEIGHTS)
        assert got == ("control" if place < 0.5 else "red" if place < 0.8 else "blue")


def test_the_traffic_splits_as_the_weights_say() -> None:
    counts = Counter(variant_for(f"u{n}", SALT, WEIGHTS) for n in range(20_000))
    for name, weight in WEIGHTS:
        assert counts[name] / 20_000 == pytest.approx(weight, abs=0.015)


def test_another_experiment_shuffles_the_units_anew() -> None:
    units = [f"u{n}" for n in range(2000)]
    same = sum(
        variant_for(unit, SALT, WEIGHTS) == variant_for(unit, salt_of("prices"), WEIGHTS)
        for unit in units
    )
    assert same / 2000 == pytest.approx(0.5**2 + 0.3**2 + 0.2**2, abs=0.05)


def test_an_arm_without_weight_gets_nobody_not_even_by_rounding() -> None:
    weights = [("a", 0.1), ("b", 0.2), ("c", 0.7), ("off", 0.0)]
    assert {variant_for(f"u{n}", SALT, weights) for n in range(2000)} == {"a", "b", "c"}


@pytest.mark.parametrize("weights", [[], [("a", 0.0)], [("a", 1.0), ("b", -0.5)]])
def test_without_a_positive_weight_nobody_can_be_assigned(weights: list[tuple[str, float]]) -> None:
    with pytest.raises(InputError, match="weights are positive"):
        variant_for("u", SALT, weights)


PLAN: dict[str, Any] = {
    "name": "buttons",
    "variants": [
        {"name": "control", "weight": 0.5, "is_control": True},
        {"name": "red", "weight": 0.5},
    ],
    "metric": {
        "name": "conversion",
        "kind": "proportion",
        "event_type": "buy",
        "aggregation": "any",
        "missing": "zero",
    },
    "planned_sample_size": 1000,
}


def _variants(*weights: float, controls: int = 1) -> list[dict[str, Any]]:
    return [
        {"name": f"v{n}", "weight": weight, "is_control": n < controls}
        for n, weight in enumerate(weights)
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variants": _variants(0.5, 0.4)}, "add up to 1"),
        ({"variants": _variants(0.5, 0.5, controls=0)}, "exactly one variant"),
        ({"variants": _variants(0.5, 0.5, controls=2)}, "exactly one variant"),
        ({"variants": _variants(1.0)}, "two variants or more"),
        ({"variants": _variants(1.5, -0.5)}, "less than or equal to 1"),
        ({"variants": [*_variants(0.5), {"name": "v0", "weight": 0.5}]}, "same name"),
        ({"name": "  "}, "it is blank"),
        ({"name": "a\0b"}, "it holds a NUL character"),
        ({"planned_sample_size": 0}, "say planned_sample_size"),
        ({"alpha": 0.9}, "less than 0.5"),
        ({"metric": PLAN["metric"] | {"kind": "madian"}}, "choose one of: count, mean, proportion"),
        ({"metric": PLAN["metric"] | {"aggregation": "sum"}}, "aggregation 'any'"),
        ({"surprise": 1}, "Extra inputs"),
    ],
)
def test_a_plan_that_does_not_fit_together_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    ExperimentPlan.model_validate(PLAN)
    with pytest.raises(ValidationError, match=message):
        ExperimentPlan.model_validate(PLAN | changes)


def test_an_unknown_metric_kind_lists_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="known: count, mean, proportion"):
        metrics.get("madian")
