"""What a health sample can say, whichever way it comes in."""

from __future__ import annotations

from math import inf, nan

import pytest

from tasks.rollouts.health.possible import impossible


@pytest.mark.parametrize(
    "sample",
    [
        ("error_rate", 0.0, 0),
        ("error_rate", 100.0, 100),
        ("error_rate", 0.15),
        ("accuracy", 1.0),
        ("latency", 0.0, 3),
        ("latency", 300.0, 2, 45_000.0),
        ("latency", 0.3, 3, 0.03),  # the squares of three 0.1 are a hair less
        ("queue_depth", -500.0, 100),
        ("custom", -3.0),
    ],
    ids=str,
)
def test_what_can_be_is_taken(sample: tuple[str, float]) -> None:
    assert impossible(*sample) is None


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        (("error_rate", nan, 10), "value_sum: a sample is a finite number, not nan"),
        (("queue_depth", -inf), "value_sum: a sample is a finite number, not -inf"),
        (("latency", 1.0, 1, inf), "square_sum: a sample is a finite number, not inf"),
        (("queue_depth", 1e101), "value_sum: a sample is 1e+100 at most, not 1e+101"),
        (("latency", 1.0, -5), "sample_count: it is at least 0, not -5"),
        (("latency", 5.0, 0), "value_sum: no samples add up to 0, not 5"),
        (
            ("error_rate", 500.0, 100),
            "value_sum: error_rate lies between 0 and 1, but 500 / 100 is 5",
        ),
        (("error_rate", -1.0, 100), "value_sum: error_rate lies between 0 and 1, but -1 / 100"),
        (("accuracy", 85.0), "value_sum: accuracy lies between 0 and 1, not 85"),
        (("latency", -20.0), "value_sum: latency is at least 0, not -20"),
        (("latency_percentile", -1.0), "value_sum: latency_percentile is at least 0, not -1"),
        (("latency", 300.0, 2, 9.0), "square_sum: the squares of 2 numbers that add up to 300"),
        (("latency", 300.0, 2, -9.0), "square_sum: the squares of 2 numbers"),
    ],
    ids=str,
)
def test_what_cannot_be_is_told(sample: tuple[str, float], said: str) -> None:
    assert str(impossible(*sample)).startswith(said)
