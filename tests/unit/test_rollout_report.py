from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tasks.errors import Reason
from tasks.rollouts.changes.announcing import RolloutChange, notices_of
from tasks.rollouts.definition.policy import DEFAULT_CHECKS
from tasks.rollouts.definition.schedule import DEFAULT_SCHEDULE, parse_schedule
from tasks.rollouts.definition.state import State
from tasks.rollouts.reporting.report import picture
from tasks.rollouts.reporting.tick_report import check_rows, progress_report, warnings_of
from tasks.rollouts.ticks.tick import TickOutcome
from tests.readings import judged, reading

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def outcome(errors: float = 80, **changes: Any) -> TickOutcome:
    check = judged(reading("error_rate", value_sum=errors, sample_count=1000), DEFAULT_CHECKS[0])
    values: dict[str, Any] = {
        "rollout_id": 1,
        "name": "ranker",
        "model_version": "v2",
        "slot": "2026-11-20T12:00Z",
        "verdict": "rollback",
        "reasons": (check.reason,),
        "old_percentage": 25.0,
        "percentage": 0.0,
        "state": State.ROLLED_BACK,
        "stage_index": 1,
        "schedule": parse_schedule(DEFAULT_SCHEDULE),
        "health": check.health,
        "checks": (check,),
        "decision_id": 7,
    }
    return TickOutcome(**(values | changes))


def test_a_rollback_is_warned_of_with_value_limit_count_and_window() -> None:
    [warning] = warnings_of(outcome())
    assert warning == (
        "rollout ranker (v2) rolled back from 25 % to 0 %: error_rate = 0.08 (must be < 0.05, "
        "n=1000): limit-breached; window 2026-11-20 11:00:00 UTC to before "
        "2026-11-20 12:00:00 UTC"
    )


@pytest.mark.parametrize("verdict", ["advance", "hold", "complete", "skip"])
def test_what_is_no_rollback_is_not_warned_of(verdict: str) -> None:
    assert warnings_of(outcome(errors=1, verdict=verdict)) == []


def test_a_hold_that_lasts_too_long_is_warned_of_with_its_length() -> None:
    overdue = Reason("max-hold", "health has not been known for 6 h")
    held = outcome(verdict="hold", percentage=25.0, reasons=(overdue,), is_escalated=True)
    assert warnings_of(held)[0].startswith(
        "rollout ranker (v2) held at 25 %: health has not been known for 6 h"
    )


def test_the_report_names_every_rollout_its_reasons_and_what_failed() -> None:
    report = progress_report("2026-11-20T12:00Z", [outcome()], {"broken": "no policy"})
    assert "## broken\n\n**Failed**: no policy" in report
    assert "## ranker: rollback" in report
    assert "25 % → **0 %**, now **rolled back**" in report
    assert "| error_rate | 0.08 | &lt; 0.05 | 1000 | ❌ limit-breached |" in report
    assert "Decision 7" in report


def test_without_rollouts_the_report_says_so() -> None:
    assert "No rollout is under way" in progress_report("2026-11-20T12:00Z", [], {})


@pytest.mark.parametrize("state", list(State))
def test_the_picture_is_well_formed_and_says_the_same_in_words(state: State) -> None:
    drawn = picture(parse_schedule(DEFAULT_SCHEDULE), 1, 25.0, state)
    found = re.fullmatch(r"!\[(.+)\]\(data:image/svg\+xml;base64,(.+)\)", drawn)
    assert found is not None
    assert found[1].startswith(f"25 % of users, {state.value.replace('_', ' ')}; stages 5/2h,")
    svg = ET.fromstring(base64.b64decode(found[2]))
    background, *bars = svg.findall("{http://www.w3.org/2000/svg}rect")
    assert (background.get("fill"), len(bars)) == ("#fff", 5)


def test_a_row_for_each_check() -> None:
    [row] = check_rows([outcome()])
    assert (row["rollout"], row["value"], row["must be"], row["verdict"]) == (
        "ranker",
        "0.08",
        "< 0.05",
        "unhealthy",
    )


def test_the_notice_of_one_that_had_not_begun_says_so() -> None:
    change = RolloutChange(
        rollout_id=1,
        version=2,
        name="ranker",
        model_version="v2",
        old_percentage=0,
        new_percentage=0,
        old_state=State.SCHEDULED,
        new_state=State.DRAFT,
        cause="manual_rollback",
        actor="ada",
        reason="not yet",
    )
    [notice] = notices_of(change)
    assert notice.title == "ranker (v2): rolled back before it began"
    begun = change.model_copy(update={"old_percentage": 5, "old_state": State.PAUSED})
    assert next(notices_of(begun)).title == "ranker (v2): manual rollback, 5 % to 0 %"
