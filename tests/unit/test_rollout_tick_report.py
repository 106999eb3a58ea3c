from __future__ import annotations

from typing import Any

from tasks.errors import Reason
from tasks.rollouts.definition.policy import DEFAULT_CHECKS
from tasks.rollouts.definition.schedule import DEFAULT_SCHEDULE, parse_schedule
from tasks.rollouts.definition.state import State
from tasks.rollouts.health.measured import Health
from tasks.rollouts.reporting.tick_report import check_rows, progress_report, warnings_of
from tasks.rollouts.ticks.tick import TickOutcome
from tests.readings import judged, reading

SLOT = "2026-11-20T12:00Z"


def outcome(number: int, verdict: str = "hold", errors: float = 10, **changes: Any) -> TickOutcome:
    check = judged(reading("error_rate", value_sum=errors, sample_count=1000), DEFAULT_CHECKS[0])
    values: dict[str, Any] = {
        "rollout_id": number,
        "name": f"r{number}",
        "model_version": f"v{number}",
        "slot": SLOT,
        "verdict": verdict,
        "reasons": (check.reason,),
        "old_percentage": 25.0,
        "percentage": 25.0,
        "state": State.RUNNING,
        "stage_index": 1,
        "schedule": parse_schedule(DEFAULT_SCHEDULE),
        "health": check.health,
        "checks": (check,),
        "decision_id": number,
    }
    return TickOutcome(**(values | changes))


def test_a_thousand_rollouts_make_a_page_that_can_be_read() -> None:
    quiet = [outcome(number) for number in range(1000)]
    failures = {f"f{number}": "no policy" for number in range(3)}
    report = progress_report(SLOT, [*quiet, outcome(1000, "advance")], failures)
    assert "| hold | 1000 |" in report
    assert "| failed | 3 |" in report
    assert [line for line in report.splitlines() if line.startswith("## ")] == [
        "## f0",
        "## f1",
        "## f2",
        "## r1000: advance",
        "## All others",
    ]
    assert "… and 900 more." in report
    assert len(report) < 40_000


def test_what_is_unhealthy_comes_first_and_the_rest_of_what_moved_in_a_table() -> None:
    moved = [outcome(number, "advance") for number in range(40)]
    unwell = outcome(99, "hold", errors=80)
    report = progress_report(SLOT, [*moved, unwell], {})
    sections = [line for line in report.splitlines() if line.startswith("## ")]
    assert sections[0] == "## r99: hold"
    assert sections[-1] == "## More that moved or is not healthy"
    assert len(sections) == 26
    assert "| r39 | v39 | 25 % → 25 % | advance |" in report


def test_what_people_named_stays_text() -> None:
    report = progress_report(SLOT, [outcome(1, "advance", name="<b>|x")], {})
    assert "<b>" not in report


def test_only_checks_that_the_verdict_names_are_blamed() -> None:
    shown = judged(reading("latency", value_sum=300_000, sample_count=1000), DEFAULT_CHECKS[1])
    assert shown.health is Health.UNHEALTHY
    bad = outcome(1, "rollback", errors=80)
    warned = warnings_of(bad.model_copy(update={"checks": (*bad.checks, shown)}))
    assert len(warned) == 1
    assert "error_rate" in warned[0]


def test_a_row_for_each_check_those_that_are_not_healthy_first() -> None:
    rows = check_rows([outcome(1), outcome(2, errors=80)])
    assert [row["rollout"] for row in rows] == ["r2", "r1"]
    assert rows[0]["guard"] == "threshold"
    assert rows[0]["other guard"].startswith("sequential: ")


def test_reasons_that_are_not_about_a_check_are_told_too() -> None:
    reason = Reason("stage-time", "1 h of this stage remain")
    report = progress_report(SLOT, [outcome(1, reasons=(reason,))], {})
    assert "1 h of this stage remain" in report
