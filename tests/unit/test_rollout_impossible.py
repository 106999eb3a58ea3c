"""What cannot be is not known: outside its bounds a value neither harms nor heals."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.rollouts.definition.policy import CheckPolicy, GuardName, RolloutPolicy
from tasks.rollouts.guard.judging import judge_check
from tests.readings import reading

LIMITS = {"error_rate": 0.05, "accuracy": 0.75, "latency": 200.0, "latency_percentile": 200.0}


@pytest.mark.parametrize("guard", ["threshold", "sequential"])
@pytest.mark.parametrize(
    ("name", "measured"),
    [
        ("error_rate", {"value_sum": 3000, "sample_count": 1000}),
        ("error_rate", {"value_sum": -1, "sample_count": 1000}),
        ("error_rate", {"given_value": 3.0}),
        ("error_rate", {"given_value": 3.0, "given_count": 1000}),
        (
            "error_rate",
            {"value_sum": 1, "sample_count": 10_000, "given_value": 3.0, "given_count": 1000},
        ),
        ("accuracy", {"value_sum": 60_000, "sample_count": 1000}),
        ("accuracy", {"given_value": -0.2}),
        ("accuracy", {"given_value": 60.0, "given_count": 1000}),
        ("latency", {"value_sum": -90_000, "sample_count": 1000, "square_sum": 9_000_000}),
        ("latency_percentile", {"given_value": -1.0}),
    ],
)
def test_what_cannot_be_is_not_known(guard: GuardName, name: str, measured: dict[str, Any]) -> None:
    check = CheckPolicy(check=name, limit=LIMITS[name])
    policy = RolloutPolicy(checks=(check,), guard=guard)
    found = judge_check(reading(name, **measured), check, policy, 1)
    assert (found.health, found.reason.code) == ("inconclusive", "impossible-value")
    assert found.shadow is not None
    assert found.shadow.health == "inconclusive"
