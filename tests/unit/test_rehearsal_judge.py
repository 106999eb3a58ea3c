from __future__ import annotations

from typing import Any

import pytest

from tasks.migrations.rehearsal.judge import RehearsalEvidence, judge_rehearsal
from tasks.migrations.rehearsal.model import (
    Failure,
    LockTime,
    MeasuredStatement,
    Rehearsal,
    RevisionEffect,
    RoundTrip,
)
from tasks.migrations.rehearsal.report import report

STATEMENT = MeasuredStatement(
    revision="r1",
    direction="upgrade",
    position=1,
    sql="ALTER TABLE orders\n  ADD region text | NOT",
    milliseconds=3.14,
    locks={"public.orders": "AccessExclusiveLock", "public.kept": "ShareLock"},
    rewrites=("public.orders",),
    rows_scanned={"public.orders": 1200},
)
EFFECT = RevisionEffect(
    revision="r1",
    direction="upgrade",
    dropped_columns=(("public", "orders", "area"),),
    lock_times=(
        LockTime(relation="public.orders", mode="AccessExclusiveLock", milliseconds=900),
        LockTime(relation="public.orders", mode="ShareLock", milliseconds=1200),
    ),
    milliseconds=1300,
)
BACK = RoundTrip(revision="r1", schema_differences=(), lost=(), is_repeated=True)


def _rehearsal(**changes: Any) -> Rehearsal:
    facts: dict[str, Any] = {
        "environment": "prod",
        "direction": "upgrade",
        "revisions": ("r1",),
        "data": "full",
        "sample_rows": 0,
        "row_counts": {"public.orders": 1200},
        "statements": (STATEMENT,),
        "effects": (EFFECT,),
        "round_trips": (BACK,),
    }
    return Rehearsal(**facts | changes)


def _codes(rehearsal: Rehearsal, budget: float | None = None) -> list[str]:
    evidence = RehearsalEvidence(rehearsal=rehearsal, max_lock_seconds=budget)
    return [reason.code for reason in judge_rehearsal(evidence).reasons]


def _failure(direction: str) -> Failure:
    return Failure.model_validate(
        {
            "revision": "r1",
            "direction": direction,
            "pass_name": direction,
            "statement": "SELECT 1/0",
            "sqlstate": "22012",
            "message": "division by zero",
        }
    )


UNTRIED = RoundTrip(revision="r1")


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({}, []),
        ({"failure": _failure("upgrade"), "round_trips": ()}, ["rehearsal-failed"]),
        ({"failure": _failure("downgrade"), "round_trips": (UNTRIED,)}, ["irreversible-downgrade"]),
        (
            {
                "failure": _failure("downgrade"),
                "round_trips": (UNTRIED.model_copy(update={"irreversible": "why"}),),
            },
            [],
        ),
        (
            {"failure": _failure("downgrade"), "direction": "downgrade", "round_trips": ()},
            ["rehearsal-failed"],
        ),
        (
            {"round_trips": (RoundTrip(revision="r1", schema_differences=("x",), lost=("c",)),)},
            ["round-trip-schema-differs", "round-trip-loses-data"],
        ),
        (
            {
                "round_trips": (
                    RoundTrip(revision="r1", schema_differences=(), lost=("c",), lossy="why"),
                )
            },
            [],
        ),
        (
            {"round_trips": (BACK.model_copy(update={"is_downgrade_empty": True}),)},
            ["irreversible-downgrade"],
        ),
    ],
)
def test_what_a_rehearsal_finds_is_refused_unless_it_is_declared(
    changes: dict[str, Any], codes: list[str]
) -> None:
    assert _codes(_rehearsal(**changes)) == codes


def test_the_longest_lock_counts_against_the_budget() -> None:
    assert _codes(_rehearsal(), 1.0) == ["lock-budget-exceeded"]
    assert _codes(_rehearsal(), 1.2) == []
    back = EFFECT.model_copy(update={"direction": "downgrade"})
    assert _codes(_rehearsal(effects=(back,)), 1.0) == []


@pytest.mark.parametrize(("data", "is_lossless"), [("full", True), ("sample", None)])
def test_only_a_copy_with_all_rows_proves_that_none_is_lost(
    data: str, is_lossless: bool | None
) -> None:
    rehearsal = _rehearsal(data=data, sample_rows=50)
    verdict = judge_rehearsal(RehearsalEvidence(rehearsal=rehearsal))
    assert verdict.details["revisions"][0]["is_lossless"] is is_lossless
    assert rehearsal.is_lossless("unknown") is None
    is_estimate = any("sample of 50 rows" in each for each in verdict.details["warnings"])
    assert is_estimate == (data == "sample")


def test_the_report_shows_each_statement_and_how_its_revision_came_back() -> None:
    shown = report(_rehearsal())
    assert "| 1 | ALTER TABLE orders ADD region text \\| NOT | 3.1 | " in shown
    assert "ACCESS EXCLUSIVE public.orders | public.orders | 1,200 |" in shown
    assert "- others wait for: public.orders 1200 ms" in shown
    assert "- takes away: public.orders.area" in shown
    assert "- there and back: schema and checksums equal" in shown
    failed = report(_rehearsal(failure=_failure("upgrade"), effects=(), round_trips=()))
    assert "division by zero" in failed
    assert "- there and back: not tried" in failed
