from __future__ import annotations

import pytest

from tasks.errors import UnknownName
from tasks.rollouts.definition.policy import DEFAULT_CHECKS, CheckPolicy
from tasks.rollouts.guard.threshold import merge
from tasks.rollouts.health.checks import health_checks
from tasks.rollouts.health.measured import Health
from tests.readings import judged as judged_reading
from tests.readings import reading

HEALTHY, UNHEALTHY, INCONCLUSIVE = Health.HEALTHY, Health.UNHEALTHY, Health.INCONCLUSIVE
LIMITS = {"error_rate": 0.05, "latency": 200.0, "accuracy": 0.75}


def judged(metric: str, min_samples: int = 500, **measured: object) -> tuple[Health, str]:
    policy = CheckPolicy(check=metric, limit=LIMITS[metric], min_samples=min_samples)
    result = judged_reading(reading(metric, control=None, **measured), policy)
    return result.health, result.reason.code


def test_the_default_checks_are_the_three_of_the_mandate() -> None:
    assert {check.check: check.limit for check in DEFAULT_CHECKS} == LIMITS


@pytest.mark.parametrize(
    ("metric", "value_sum", "health"),
    [
        ("error_rate", 49, HEALTHY),
        ("error_rate", 50, UNHEALTHY),  # exactly 5 %
        ("error_rate", 60, UNHEALTHY),
        ("error_rate", 0, HEALTHY),  # no errors is not missing data
        ("latency", 199_999, HEALTHY),
        ("latency", 200_000, UNHEALTHY),  # exactly 200 ms
        ("accuracy", 751, HEALTHY),
        ("accuracy", 750, UNHEALTHY),  # exactly 75 %
    ],
)
def test_a_value_equal_to_the_limit_is_unhealthy(
    metric: str, value_sum: float, health: Health
) -> None:
    assert judged(metric, value_sum=value_sum, sample_count=1000)[0] is health


@pytest.mark.parametrize(
    ("metric", "value", "health"),
    [
        ("error_rate", 0.0499, HEALTHY),
        ("error_rate", 0.05, UNHEALTHY),
        ("error_rate", 0.15, UNHEALTHY),
        ("latency", 200.0, UNHEALTHY),
        ("accuracy", 0.75, UNHEALTHY),
        ("accuracy", 0.76, HEALTHY),
    ],
)
def test_a_value_given_without_a_count_is_judged_as_given(
    metric: str, value: float, health: Health
) -> None:
    assert judged(metric, given_value=value, given_rows=1)[0] is health


@pytest.mark.parametrize(
    ("measured", "min_samples", "expected"),
    [
        ({}, 500, (INCONCLUSIVE, "no-data")),
        ({}, 0, (INCONCLUSIVE, "no-data")),
        ({"value_sum": 0, "sample_count": 0}, 0, (INCONCLUSIVE, "no-data")),
        ({"value_sum": 3, "sample_count": 20}, 500, (INCONCLUSIVE, "too-few-samples")),
        ({"value_sum": 0, "sample_count": 20}, 500, (INCONCLUSIVE, "too-few-samples")),
        ({"value_sum": 3, "sample_count": 20}, 0, (UNHEALTHY, "limit-breached")),
        ({"value_sum": 25, "sample_count": 500}, 500, (UNHEALTHY, "limit-breached")),
        ({"broken_rows": 1}, 500, (INCONCLUSIVE, "not-finite")),
        (
            {"value_sum": 0, "sample_count": 900, "broken_rows": 1},
            500,
            (INCONCLUSIVE, "not-finite"),
        ),
        # evidence of harm is not hidden by a broken sample, nor by a small one
        (
            {"value_sum": 90, "sample_count": 900, "broken_rows": 1},
            500,
            (UNHEALTHY, "limit-breached"),
        ),
        (
            {"value_sum": 3, "sample_count": 20, "given_value": 0.15, "given_rows": 1},
            500,
            (UNHEALTHY, "limit-breached"),
        ),
        (
            {"value_sum": 3, "sample_count": 20, "given_value": 0.01, "given_rows": 1},
            500,
            (INCONCLUSIVE, "too-few-samples"),
        ),
        ({"source_error": "gone"}, 500, (INCONCLUSIVE, "source-error")),
    ],
)
def test_what_is_missing_small_or_broken_is_inconclusive_never_healthy(
    measured: dict[str, object], min_samples: int, expected: tuple[Health, str]
) -> None:
    assert judged("error_rate", min_samples, **measured) == expected


@pytest.mark.parametrize(
    ("healths", "merged"),
    [
        ([HEALTHY, HEALTHY], HEALTHY),
        ([HEALTHY, INCONCLUSIVE], INCONCLUSIVE),
        ([INCONCLUSIVE, UNHEALTHY, HEALTHY], UNHEALTHY),
        ([], INCONCLUSIVE),
    ],
)
def test_any_unhealthy_check_wins_then_any_inconclusive_one(
    healths: list[Health], merged: Health
) -> None:
    assert merge(healths) is merged


def test_a_result_keeps_the_operator_the_limit_and_the_count() -> None:
    result = judged_reading(reading("latency", value_sum=1e5, sample_count=1000), DEFAULT_CHECKS[1])
    assert (result.operator, result.limit, result.value, result.sample_count) == (
        "<",
        200.0,
        100.0,
        1000,
    )


def test_of_a_counted_and_a_given_value_the_one_beyond_the_limit_is_shown() -> None:
    check = CheckPolicy(check="latency", limit=200)
    slow = reading("latency", value_sum=9000, sample_count=100, given_value=9000, given_rows=1)
    result = judged_reading(slow, check)
    assert (result.health, result.value, result.sample_count) == (UNHEALTHY, 9000, None)
    both = reading("latency", value_sum=90000, sample_count=100, given_value=900, given_rows=1)
    assert judged_reading(both, check).value == 900
    fine = reading("latency", value_sum=9000, sample_count=100, given_value=80, given_rows=1)
    assert judged_reading(fine, check).sample_count == 100


def test_a_check_that_raises_is_inconclusive() -> None:
    health_checks.register("broken")(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    try:
        result = judged_reading(reading("broken"), CheckPolicy(check="broken", limit=1))
    finally:
        del health_checks._items["broken"]
    assert (result.health, result.reason.code) == (INCONCLUSIVE, "check-error")
    assert "ZeroDivisionError" in result.reason.message


def test_an_unknown_check_lists_the_known_ones() -> None:
    with pytest.raises(UnknownName, match=r"did you mean 'error_rate'\? known: accuracy, custom"):
        health_checks.get("eror_rate")


@pytest.mark.parametrize("given", [None, True, "healthy"])
def test_a_check_that_gives_no_result_is_inconclusive(given: object) -> None:
    health_checks.register("odd")(lambda: given)  # type: ignore[arg-type, return-value]
    try:
        result = judged_reading(reading("odd"), CheckPolicy(check="odd", limit=1))
    finally:
        del health_checks._items["odd"]
    assert (result.health, result.reason.code) == (INCONCLUSIVE, "check-error")


@pytest.mark.parametrize(
    ("metric", "value", "expected"),
    [
        ("error_rate", -0.01, (INCONCLUSIVE, "impossible-value")),
        ("latency", -1, (INCONCLUSIVE, "impossible-value")),
        ("accuracy", 60, (INCONCLUSIVE, "impossible-value")),  # a percentage, sent as a share
        ("error_rate", 8, (INCONCLUSIVE, "impossible-value")),
        ("accuracy", -1, (INCONCLUSIVE, "impossible-value")),
        ("accuracy", 1, (HEALTHY, "within-limit")),
        ("error_rate", 0, (HEALTHY, "within-limit")),
    ],
)
def test_a_value_that_cannot_be_is_never_healthy(
    metric: str, value: float, expected: tuple[Health, str]
) -> None:
    assert judged(metric, given_value=value, given_rows=1) == expected
    assert judged(metric, value_sum=value * 1000, sample_count=1000) == expected


def test_a_check_whose_plug_in_is_gone_is_inconclusive() -> None:
    result = judged_reading(reading("gone"), CheckPolicy(check="gone", limit=1))
    assert (result.health, result.reason.code) == (INCONCLUSIVE, "check-error")
