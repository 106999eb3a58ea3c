"""A mean that evidence could never judge is refused before the rollout starts."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from tasks.errors import Refused
from tasks.rollouts.definition.policy import CheckPolicy, RolloutPolicy
from tests.database.rollouts import an_hour, begin, hours_pass, sample, traffic
from tests.rows import rows_of

LATENCY = CheckPolicy(check="latency", limit=200)


def sequential(**changed: Any) -> RolloutPolicy:
    latency = CheckPolicy.model_validate(LATENCY.model_dump() | changed)
    errors = CheckPolicy(check="error_rate", limit=0.05)
    return RolloutPolicy(guard="sequential", checks=(errors, latency))


def refused(database: Engine, policy: RolloutPolicy) -> str:
    with pytest.raises(Refused) as refusal:
        begin(database, policy=policy, control_version="v1")
    [reason] = refusal.value.reasons
    assert reason.code == "never-decides"
    return reason.message


def test_samples_without_squares_are_refused_and_the_message_says_what_to_do(
    database: Engine,
) -> None:
    sample(database, "latency", 12_000, 100, version="v1")
    message = refused(database, sequential())
    assert message.startswith("latency: the sequential guard judges a mean by its spread")
    assert "record square_sum with each sample" in message
    assert rows_of(database, "SELECT count(*) FROM rollout") == [(0,)]


@pytest.mark.parametrize(
    "policy",
    [
        sequential(action="warn"),
        sequential(is_shadow=True),
        RolloutPolicy(checks=(LATENCY,)),
    ],
    ids=["warns", "in shadow", "threshold"],
)
def test_a_mean_that_holds_nothing_up_is_not_refused(
    database: Engine, policy: RolloutPolicy
) -> None:
    sample(database, "latency", 12_000, 100)
    assert begin(database, policy=policy).percentage == 5


def test_a_value_without_a_count_and_samples_of_long_ago_say_nothing(database: Engine) -> None:
    sample(database, "latency", 12_000, 100)
    hours_pass(database, 25)
    sample(database, "latency", 120)
    assert begin(database, policy=sequential()).percentage == 5


@pytest.mark.parametrize(
    ("pointers", "is_refused"),
    [
        ({"value": "/ms"}, False),
        ({"value": "/ms", "count": "/n"}, True),
        ({"value_sum": "/s", "sample_count": "/n"}, True),
        ({"value_sum": "/s", "sample_count": "/n", "square_sum": "/q"}, False),
    ],
    ids=["value", "value and count", "sums", "sums and squares"],
)
def test_an_endpoint_that_gives_counts_must_give_squares(
    database: Engine, pointers: dict[str, str], is_refused: bool
) -> None:
    policy = sequential(source={"kind": "http", "url": "http://127.0.0.1:1/"} | pointers)
    if is_refused:
        assert "its source gives no sums of squares" in refused(database, policy)
    else:
        assert begin(database, policy=policy).percentage == 5


def test_the_demo_records_what_every_guard_needs(database: Engine) -> None:
    traffic(database)
    begin(database, policy=RolloutPolicy(guard="sequential"))
    assert [an_hour(database).verdict for _ in range(2)] == ["hold", "advance"]
    judged = "SELECT DISTINCT metric, verdict, shadow_verdict FROM health_check ORDER BY 1"
    assert rows_of(database, judged) == [
        (metric, "healthy", "healthy") for metric in ("accuracy", "error_rate", "latency")
    ]
    spread = """
        SELECT avg(sqrt(square_sum / sample_count - (value_sum / sample_count) ^ 2))
        FROM health_sample WHERE metric = 'latency'
    """
    [(deviation,)] = rows_of(database, spread)
    assert deviation == pytest.approx(0.4 * 120, rel=0.03)
