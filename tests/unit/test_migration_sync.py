from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tasks.migrations.fingerprint.model import Difference
from tasks.migrations.sync.promotion import (
    Passed,
    Predecessor,
    PromotionEvidence,
    RevisionContent,
    judge_promotion,
)

R2 = RevisionContent(revision="r2", script_checksum="a" * 64, sql_checksum="b", renderer="x")


def passed(**update: Any) -> Passed:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    there = Passed(**R2.model_dump(), state="applied", applied_at=at, actor="ada")
    return there.model_copy(update=update)


def evidence(*there: Passed, **update: Any) -> PromotionEvidence:
    staging = Predecessor(
        environment="staging", passed=there, **update.pop("predecessor", {"differences": ()})
    )
    return PromotionEvidence(
        environment="prod", goals=("r2",), pending=(R2,), predecessors=(staging,)
    ).model_copy(update=update)


def codes(asked: PromotionEvidence) -> list[str]:
    return [reason.code for reason in judge_promotion(asked).reasons]


def test_first_environment_has_nobody_to_follow() -> None:
    assert judge_promotion(evidence(predecessors=())).verdict == "allowed"
    assert judge_promotion(evidence(predecessors=(), pending=())).verdict == "nothing-to-do"


def test_what_the_predecessor_passed_with_the_same_content_is_allowed() -> None:
    assert judge_promotion(evidence(passed())).verdict == "allowed"
    assert judge_promotion(evidence(passed(state="adopted"))).verdict == "allowed"
    assert judge_promotion(evidence(passed(), is_rehearsed=True)).verdict == "allowed"


@pytest.mark.parametrize("state", ["pending", "stamped", "spliced"])
def test_what_the_predecessor_has_not_run_is_refused(state: str) -> None:
    assert codes(evidence()) == ["not-passed-by-predecessor"]
    assert codes(evidence(passed(state=state))) == ["not-passed-by-predecessor"]


def test_what_the_same_plan_applies_to_the_predecessor_first_counts_as_passed() -> None:
    planned = {"predecessor": {"planned": ("r2",)}}
    assert judge_promotion(evidence(**planned)).verdict == "allowed"
    edited = passed(state="edited", script_checksum="c" * 64)
    assert codes(evidence(edited, **planned)) == ["content-differs"]


def test_other_content_is_refused_with_both_checksums() -> None:
    [reason] = judge_promotion(evidence(passed(script_checksum="c" * 64))).reasons
    assert reason.code == "content-differs"
    assert "cccccccccccc" in reason.message
    assert "aaaaaaaaaaaa" in reason.message
    assert "2026-11-20 00:00 by ada" in reason.message


def test_other_sql_of_the_same_code_is_refused_if_the_same_libraries_wrote_it() -> None:
    assert codes(evidence(passed(sql_checksum="other"))) == ["content-differs"]
    assert codes(evidence(passed(sql_checksum="other", renderer="newer"))) == []


def test_content_that_both_ran_differently_is_refused_though_nothing_is_to_do() -> None:
    mine = passed(script_checksum="d" * 64)
    assert codes(evidence(passed(), pending=(), applied=(mine,))) == ["content-differs"]
    assert codes(evidence(passed(), pending=(), applied=(passed(),))) == []
    assert codes(evidence(predecessor={"problem": "no route"}, pending=())) == []


def test_what_is_not_known_is_never_taken_for_fine() -> None:
    assert codes(evidence(predecessor={"problem": "no route"})) == ["predecessor-unknown"]
    assert codes(evidence(passed(script_checksum=None))) == ["content-unknown"]
    unknown = evidence(passed(), predecessor={"differences": None}, is_rehearsed=True)
    assert codes(unknown) == ["schema-unknown"]


def test_another_resulting_schema_is_refused_by_the_object_that_differs() -> None:
    order = Difference(
        object="table public.t",
        change="changed",
        attribute="column_order",
        expected=["a", "b"],
        actual=["b", "a"],
        is_information=True,
    )
    hot = Difference(object="index public.ix_hot", change="added", actual={})
    asked = evidence(passed(), predecessor={"differences": (order, hot)}, is_rehearsed=True)
    [reason] = judge_promotion(asked).reasons
    assert reason.code == "schema-differs-from-predecessor"
    assert "index public.ix_hot" in reason.message
    assert "public.t" not in reason.message
    only_order = {"predecessor": {"differences": (order,)}, "is_rehearsed": True}
    assert codes(evidence(passed(), **only_order)) == []
