"""The verdicts before and after a migration, from evidence alone."""

from __future__ import annotations

import pytest

from tasks.migrations.applying import statement_kinds
from tasks.migrations.preflight.judge import PreflightEvidence, judge_preflight
from tasks.migrations.validation.after_apply import (
    AfterApplyEvidence,
    AppliedRevisionFacts,
    judge_after_apply,
)

READY = PreflightEvidence(environment="prod", role="migrator")


def test_nothing_in_the_way_is_allowed() -> None:
    assert judge_preflight(READY).verdict == "allowed"


@pytest.mark.parametrize(
    ("update", "code"),
    [
        ({"is_standby": True, "is_read_only": True}, "standby"),
        ({"is_read_only": True}, "read-only"),
        ({"is_pooled": True}, "pooler-in-transaction-mode"),
        ({"is_pooled": None}, "pooler-in-transaction-mode"),
        ({"has_history": False}, "no-history"),
    ],
)
def test_each_obstacle_is_a_refusal_with_a_way_out(update: dict[str, object], code: str) -> None:
    verdict = judge_preflight(READY.model_copy(update=update))
    assert verdict.verdict == "refused"
    assert [reason.code for reason in verdict.reasons] == [code]
    assert "; " in verdict.reasons[0].message


def after(**facts: object) -> AfterApplyEvidence:
    both = [AppliedRevisionFacts(revision=name, is_lossless=True) for name in ("a", "b")]
    known = {"environment": "prod", "applied": both, "is_as_rehearsed": True} | facts
    return AfterApplyEvidence.model_validate(known)


def test_what_is_as_rehearsed_is_kept() -> None:
    assert judge_after_apply(after()).verdict == "keep"
    assert judge_after_apply(after(is_as_rehearsed=None)).verdict == "keep"


def test_what_is_not_as_rehearsed_is_rolled_back_where_nothing_is_lost() -> None:
    verdict = judge_after_apply(after(is_as_rehearsed=False))
    assert verdict.verdict == "roll-back"
    assert verdict.details["revisions"] == ["b", "a"]


@pytest.mark.parametrize("is_lossless", [False, None])
def test_what_is_not_proven_lossless_stops_and_says_so(is_lossless: bool | None) -> None:
    one = [AppliedRevisionFacts(revision="a", is_lossless=is_lossless)]
    verdict = judge_after_apply(after(applied=one, failed_suites=("ab_metrics",)))
    assert verdict.verdict == "stop"
    assert [reason.code for reason in verdict.reasons] == ["expectations-failed", "not-undone"]


@pytest.mark.parametrize(
    ("sql", "fits"),
    [
        ("CREATE INDEX CONCURRENTLY i ON t (a)", False),
        ("-- why\nCREATE UNIQUE INDEX CONCURRENTLY i ON t (a)", False),
        ("CREATE INDEX i ON t (a)", True),
        ("VACUUM t", False),
        ("ALTER TABLE t DETACH PARTITION p CONCURRENTLY", False),
        ("ALTER TYPE mood ADD VALUE 'ok'", True),
        ("UPDATE t SET done = true", True),
        ("DO $$ BEGIN COMMIT; END $$", False),
    ],
)
def test_what_fits_into_a_transaction(sql: str, fits: bool) -> None:
    assert statement_kinds.fits_into_transaction(sql) is fits


def test_reads_are_told_from_changes() -> None:
    assert statement_kinds.is_read("WITH a AS (SELECT 1) SELECT * FROM a")
    assert not statement_kinds.is_read("WITH a AS (DELETE FROM t RETURNING 1) SELECT * FROM a")
    assert not statement_kinds.is_read("UPDATE t SET a = (SELECT 1)")


def test_names_of_built_and_dropped_indexes() -> None:
    built = statement_kinds.built_index(
        'CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS "My" ON s.t (a)'
    )
    assert (built and built.name, built and built.table) == ('"My"', "s.t")
    assert statement_kinds.dropped_index("DROP INDEX CONCURRENTLY IF EXISTS s.i") == "s.i"
