"""What figures decide, what a verdict says, and what a reader sees."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tasks.decisions import Verdict
from tasks.migrations.hazards.decide import decide
from tasks.migrations.hazards.judge import HazardEvidence, judge_hazards
from tasks.migrations.hazards.model import Hazard, Severity
from tasks.migrations.hazards.report import hazard_table


@dataclass(frozen=True)
class Seen:
    sql: str
    milliseconds: float = 1.0
    rewrites: tuple[str, ...] = ()
    rows_scanned: dict[str, int] = field(default_factory=dict)
    sqlstate: str | None = None
    position: int = 9
    revision: str = "r1"
    direction: str = "upgrade"


def hazard(code: str = "type-change", severity: Severity = "high", **more: object) -> Hazard:
    fields: dict[str, object] = {
        "code": code,
        "severity": severity,
        "revision": "r1",
        "file": "r1_orders.py",
        "statement": "ALTER TABLE a ALTER b TYPE text",
        "position": 1,
        "message": "a becomes slow",
        "safe_rewrite": "another column",
        "needs_context": True,
    }
    return Hazard.model_validate({**fields, **more})


def outcome(seen: Seen, code: str = "type-change", data: str = "full") -> str:
    (decided,) = decide([hazard(code)], [seen], budget_ms=100, data=data)  # type: ignore[arg-type]
    return decided.outcome


SQL = "ALTER TABLE a\n ALTER b TYPE text;"


@pytest.mark.parametrize(
    ("code", "seen", "expected"),
    [
        ("type-change", Seen(SQL, 900), "dismissed"),  # it only waited
        ("type-change", Seen(SQL, 900, ("a",), {"a": 9}), "confirmed"),
        ("type-change", Seen(SQL, 90, ("a",), {"a": 9}), "dismissed"),
        ("type-change", Seen(SQL, 900, (), {"a": 9}), "confirmed"),
        ("set-not-null", Seen(SQL, 90, (), {"a": 9}), "dismissed"),
        ("set-not-null", Seen(SQL, 900, (), {"a": 9}), "confirmed"),
        ("set-not-null", Seen("SELECT 1", 900), "open"),
        ("set-not-null", Seen(SQL, 3, sqlstate="23502"), "open"),  # it failed: that is quick
        ("set-not-null", Seen(SQL, 900, revision="r2"), "open"),
        ("set-not-null", Seen(SQL, 900, direction="downgrade"), "open"),
        ("ddl-with-backfill", Seen("SELECT 1", 900), "confirmed"),  # the whole revision counts
        ("enum-value-removed", Seen(SQL, 900), "dismissed"),  # every row went through
        ("enum-value-removed", Seen(SQL, sqlstate="22P02"), "confirmed"),
        ("drop-column", Seen(SQL, 1), "open"),  # however quick, the values are gone
    ],
)
def test_figures_decide_what_they_can(code: str, seen: Seen, expected: str) -> None:
    assert outcome(seen, code) == expected


@pytest.mark.parametrize(
    ("data", "seen", "expected"),
    [
        ("sample", Seen(SQL, 90, ("a",), {"a": 9}), "open"),
        ("sample", Seen(SQL, 900, ("a",), {"a": 9}), "confirmed"),
        ("sample", Seen(SQL, 90), "dismissed"),  # it did not even look at the sample
        ("none", Seen(SQL, 90), "open"),
        ("none", Seen(SQL, 900, ("a",)), "open"),
    ],
)
def test_a_smaller_copy_says_less(data: str, seen: Seen, expected: str) -> None:
    assert outcome(seen, data=data) == expected


def test_a_measured_text_is_found_as_the_driver_got_it() -> None:
    like = hazard(statement="UPDATE a SET b = 'x' WHERE c LIKE '%y'", code="unbatched-backfill")
    several = Seen("-- first\nSELECT 1; UPDATE a SET b = 'x'  WHERE c LIKE '%%y';", 900)
    bound = Seen("UPDATE a SET b=%(b)s WHERE c LIKE %(c)s", 900, position=1)
    elsewhere = Seen("UPDATE a SET b=%(b)s WHERE c LIKE %(c)s", 900, position=2)
    outcomes = [decide([like], [seen])[0].outcome for seen in (several, bound, elsewhere)]
    assert outcomes == ["dismissed", "dismissed", "open"]


def test_the_figures_are_the_evidence() -> None:
    (decided,) = decide([hazard()], [Seen(SQL, 2_000, ("a",), {"a": 7})], budget_ms=500)
    assert decided.evidence == (
        "rehearsed: 2000 ms (budget 500 ms), 7 rows scanned, a written anew"
    )


def judge(*found: Hazard, approve: tuple[str, ...] = (), actor: str | None = "ada") -> Verdict:
    evidence = HazardEvidence(environment="prod", hazards=found, approvals=approve, actor=actor)
    return judge_hazards(evidence)


def test_without_hazards_a_plan_is_allowed() -> None:
    assert judge().verdict == "allowed"


def test_a_high_hazard_blocks_until_it_is_approved_by_code_and_revision() -> None:
    refused = judge(hazard())
    (reason,) = refused.reasons
    assert (refused.verdict, reason.code) == ("refused", "type-change")
    for part in ("r1_orders.py", "ALTER TABLE a", "another column", "--approve type-change@r1"):
        assert part in reason.message
    allowed = judge(hazard(), approve=("type-change@r1",))
    assert allowed.verdict == "allowed"
    assert allowed.details["approved"] == ["type-change@r1"]
    assert allowed.details["approved_by"] == "ada"


def test_hazards_that_one_approval_names_are_one_reason() -> None:
    (reason,) = judge(hazard(), hazard(position=2), hazard(position=3)).reasons
    assert "(and 2 more like it)" in reason.message


def test_a_critical_hazard_cannot_be_approved() -> None:
    found = hazard("drop-cascade", "critical")
    refused = judge(found, approve=("drop-cascade@r1",))
    assert [reason.code for reason in refused.reasons] == ["drop-cascade"]
    assert "cannot be approved" in refused.reasons[0].message


@pytest.mark.parametrize("severity", ["warning", "advice"])
def test_warnings_and_advice_never_block(severity: Severity) -> None:
    verdict = judge(hazard(severity=severity))
    assert (verdict.verdict, verdict.details["warnings"]) == ("allowed", 1)


def test_what_was_dismissed_does_not_block_and_what_was_confirmed_shows_its_figures() -> None:
    assert judge(hazard(outcome="dismissed", evidence="9 ms")).verdict == "allowed"
    (reason,) = judge(hazard(outcome="confirmed", evidence="900 ms")).reasons
    assert "[900 ms]" in reason.message


def test_an_approval_of_nothing_is_refused_and_answered_with_what_is_there() -> None:
    refused = judge(hazard(), approve=("type-change@r1", "drop-table@r9"))
    (reason,) = refused.reasons
    assert reason.code == "unknown-approval"
    assert "'drop-table@r9'" in reason.message
    assert "to approve here: type-change@r1" in reason.message


def test_an_approval_by_nobody_is_refused() -> None:
    refused = judge(hazard(), approve=("type-change@r1",), actor=None)
    assert [reason.code for reason in refused.reasons] == ["approval-without-actor"]


def test_the_report_shows_the_worst_first_and_counts_what_is_harmless() -> None:
    found = (
        hazard("several-tables-locked", "warning"),
        hazard("drop-cascade", "critical", needs_context=False),
        hazard(outcome="dismissed", evidence="rehearsed: 3 ms"),
        hazard("json-column", "advice", outcome="dismissed", evidence="new", needs_context=False),
        hazard("set-not-null"),
        hazard("vacuum-full"),
    )
    lines = hazard_table(found, approvals=["set-not-null@r1"]).splitlines()
    states = [line.split(" | ")[4] for line in lines if line.startswith("| r1")]
    blocking = ["blocks", "approved", "approve: vacuum-full@r1"]
    assert states == [*blocking, "noted", "dismissed: rehearsed: 3 ms"]
    assert lines[-1].startswith("1 more would be hazards elsewhere")
    assert hazard_table(()) == "No hazards."
