"""What does not fit a plan is told by its place, its value and what would fit."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.errors import InputError
from tasks.rollouts.definition.plan import as_plan

PLAN = {"name": "ranker", "model_version": "v2"}
CHECK = {"check": "error_rate", "limit": 0.05}
WEEKLY = {"from_day": "fri", "from_time": "12:00", "to_day": "mon", "to_time": "08:00"}


def told(**changes: Any) -> str:
    """What is said of a plan with these changes."""
    with pytest.raises(InputError) as caught:
        as_plan(PLAN | changes, "the file")
    return str(caught.value).removeprefix("the file is no plan of a rollout: ")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schedul": "5/2h"}, "schedul: there is no such field; did you mean schedule? Known: na"),
        ({"zzz": 1}, "zzz: there is no such field; Known: name, model_version, schedule, policy"),
        (
            {"policy": {"checks": [CHECK, CHECK | {"metrik": "m"}]}},
            "policy.checks[1].metrik: there is no such field; did you mean metric? Known: check, ",
        ),
        (
            {"schedule": {"stages": [{"percentage": 5, "hours": 1, "hour": 2}]}},
            "schedule.stages[0].hour: there is no such field; did you mean hours? Known: percentag",
        ),
        (
            {"policy": {"freezes": [WEEKLY | {"timezon": "UTC"}]}},
            "policy.freezes[0].timezon: there is no such field; did you mean timezone? Known: from",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_misspelt_field_is_told_with_the_known_ones(changes: dict[str, Any], said: str) -> None:
    message = told(**changes)
    assert message.startswith(said)
    assert "Extra inputs" not in message
    assert ";" not in message.replace("such field; ", "")  # and nothing beside it


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"policy": {"checks": [CHECK | {"min_samples": -1}]}},
            "policy.checks[0].min_samples: Input should be greater than or equal to 0, not -1",
        ),
        (
            {"tick_seconds": 0},
            "tick_seconds: Input should be greater than 0, not 0",
        ),
        (
            {"schedule": "5/2h,101/1h"},
            "schedule.stages[1].percentage: Input should be less than or equal to 100, not 101",
        ),
    ],
    ids=["check", "plan", "stage"],
)
def test_a_number_out_of_its_range_is_told_with_the_limit(
    changes: dict[str, Any], said: str
) -> None:
    assert told(**changes) == said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"policy": "threshold"},
            "policy: it is made of fields: checks, guard, al",
        ),
        ({"schedule": 5}, "schedule: a schedule looks like '5/2h,25/4h,100/24h'"),
        ({"starts_at": "soon"}, "starts_at: write a time such as 2026-12-01T08:00:00Z"),
        (
            {"policy": {"checks": ["error_rate"]}},
            "policy.checks[0]: it is made of fields: check, limit, ",
        ),
    ],
    ids=["policy", "schedule", "time", "check"],
)
def test_a_value_of_another_form_is_told_with_the_form(changes: dict[str, Any], said: str) -> None:
    assert told(**changes).startswith(said)


def test_what_cannot_be_read_at_all_is_not_shown_for_it_may_be_a_secret() -> None:
    assert "hush" not in told(policy={"checks": [CHECK | {"limit": "hush"}]})


def test_nothing_is_told_of_the_sort_of_freeze_that_was_not_meant() -> None:
    assert told(policy={"freezes": [WEEKLY | {"to_day": "someday"}]}).startswith(
        "policy.freezes[0].to_day: Input should be 'mon', "
    )
