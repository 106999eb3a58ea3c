from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from tasks.errors import InputError
from tasks.rollouts.definition.plan import RolloutEdit, as_plan
from tasks.rollouts.definition.schedule import (
    DEFAULT_SCHEDULE,
    Schedule,
    parse_schedule,
    parse_slot,
    slot_of,
)


def test_the_default_schedule_has_the_five_stages() -> None:
    schedule = parse_schedule(DEFAULT_SCHEDULE)
    assert [(stage.percentage, stage.hours) for stage in schedule.stages] == [
        (5, 2),
        (25, 4),
        (50, 8),
        (75, 12),
        (100, 24),
    ]
    assert str(schedule) == DEFAULT_SCHEDULE


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("25/4h,5/2h", "must increase"),
        ("25/4h,25/2h", "must increase"),
        ("50/4h,101/2h", "less than or equal to 100"),
        ("0/1h", "greater than 0"),
        ("-5/1h", "greater than 0"),
        ("5/-1h", "greater than or equal to 0"),
        ("5/0h,100/1h", r"stage 1 \(5 %\) has no hours: write 5/1h, say, or leave it out"),
        ("5/2h,25/0.0h,100/0h", r"stage 2 \(25 %\) has no hours"),
        ("nan/1h", "looks like"),
        ("5/infh", "looks like"),
        ("x/1h", "looks like"),
        ("5%/2h", "looks like"),
        ("5_0/2h", "looks like"),  # Python reads that as 50
        ("5.5.5/2h", "valid number"),
        ("", "looks like"),
        ("5", "looks like"),
        ("5/2h,", "looks like"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(text: str, problem: str) -> None:
    """Scenario 19."""
    with pytest.raises(InputError, match=problem):
        parse_schedule(text)


@pytest.mark.parametrize("given", [[], {"stages": []}, {}, None, 5, {"stages": "5/2h", "x": 1}])
def test_no_stages_are_no_schedule(given: Any) -> None:
    """Scenario 19."""
    with pytest.raises(ValidationError):
        Schedule.model_validate(given)


def test_a_schedule_may_be_text_a_list_of_stages_or_what_was_stored() -> None:
    stages = [{"percentage": 5, "hours": 2}, {"percentage": 100, "hours": 1.5}]
    written = parse_schedule("5/2h,100/1.5h")
    assert Schedule.model_validate(stages) == Schedule.model_validate({"stages": stages}) == written
    assert Schedule.model_validate_json(written.model_dump_json()) == written


def test_only_the_last_stage_may_do_without_hours() -> None:
    named = {"name": "ranker", "model_version": "v2"}
    assert as_plan(named | {"schedule": "5/2h,100/0h"}, "f").schedule.stages[1].hours == 0
    stages = [{"percentage": 5, "hours": 0}, {"percentage": 100, "hours": 1}]
    with pytest.raises(InputError, match=r"schedule: stage 1 \(5 %\) has no hours"):
        as_plan(named | {"schedule": stages}, "f")
    with pytest.raises(ValidationError, match="has no hours"):
        RolloutEdit.model_validate({"schedule": stages})


def test_what_was_stored_before_stages_had_to_last_can_still_be_read() -> None:
    stored = {"stages": [{"percentage": 5, "hours": 0}, {"percentage": 100, "hours": 1}]}
    assert str(Schedule.model_validate(stored)) == "5/0h,100/1h"


def test_a_schedule_is_written_as_exactly_as_it_was_given() -> None:
    text = "33.3333333/0.1h,66.6666667/123.456789h"
    assert str(parse_schedule(text)) == text


def test_a_schedule_may_end_below_all_users() -> None:
    """Scenario 19: it completes as partial, which tests of ticks show."""
    assert str(parse_schedule(" 0.5 / 1.5 h , 10/2h ")) == "0.5/1.5h,10/2h"


@pytest.mark.parametrize(
    ("percentage", "position"), [(0, -1), (4.9, -1), (5, 0), (40, 1), (50, 2), (99, 3), (100, 4)]
)
def test_a_percentage_has_its_place_in_the_schedule(percentage: float, position: int) -> None:
    assert parse_schedule(DEFAULT_SCHEDULE).position(percentage) == position


@pytest.mark.parametrize(
    "text",
    ["2026-11-20T14:00Z", "2026-11-20T15:00+01:00", "2026-11-20 14:00", "2026-11-20T14:00:31Z"],
)
def test_a_slot_has_one_spelling(text: str) -> None:
    assert parse_slot(text) == "2026-11-20T14:00Z"


def test_the_slot_of_a_moment_is_its_hour() -> None:
    moment = datetime(2026, 11, 20, 15, 59, tzinfo=timezone(timedelta(hours=1)))
    assert slot_of(moment) == slot_of(moment.astimezone(UTC)) == "2026-11-20T14:00Z"


@pytest.mark.parametrize("text", ["", "noon", "14:00"])
def test_a_slot_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="a slot is a time"):
        parse_slot(text)


@pytest.mark.parametrize("text", ["2026-11-20T14:00Z", "2026-11-20T14:59", "1999-01-01"])
def test_a_slot_up_to_now_is_taken(text: str) -> None:
    now = datetime(2026, 11, 20, 14, 59, 59, tzinfo=UTC)
    assert parse_slot(text, latest=now) <= "2026-11-20T14:59Z"


@pytest.mark.parametrize("text", ["2026-11-20T15:00Z", "2027-01-01", "9999-12-31T23:59-23:00"])
def test_a_slot_to_come_is_refused_because_it_would_silence_all_ticks_until_then(
    text: str,
) -> None:
    with pytest.raises(InputError, match="slot"):
        parse_slot(text, latest=datetime(2026, 11, 20, 14, 59, 59, tzinfo=UTC))


def test_slots_sort_as_times_do_from_the_first_year_on() -> None:
    assert parse_slot("0999-01-01") < parse_slot("1000-01-01")
