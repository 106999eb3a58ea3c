from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tasks.migrations.check import SchemaCheck
from tasks.migrations.losses import Loss
from tasks.migrations.moves import Moved
from tasks.migrations.report import MigrationResult

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def test_report_of_a_second_run_says_that_there_was_nothing_to_do() -> None:
    check = SchemaCheck(environment="local", current=("004",), drift=())
    result = MigrationResult(
        environment="local",
        direction="upgrade",
        decision_id=7,
        verdict="nothing-to-do",
        check=check,
    )
    assert result.summary == "local: nothing to do; the database is at 004"
    assert "exactly as described" in result.as_markdown()


def test_report_lists_revisions_losses_and_findings() -> None:
    moved = Moved(
        environment="local",
        revision="003",
        direction="downgrade",
        outcome="done",
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=1.5),
        losses=(Loss(table="rollout", rows=4),),
    )
    check = SchemaCheck(
        environment="local",
        current=("002",),
        drift=("add index: idx_a",),
        invalid_indexes=("idx_b",),
        unvalidated_constraints=("t.c",),
    )
    report = MigrationResult(
        environment="local",
        direction="downgrade",
        decision_id=7,
        verdict="allowed",
        moved=(moved,),
        check=check,
    ).as_markdown()
    for expected in ("003 | rolled back | 1.50 | 4", "add index: idx_a", "idx_b", "t.c"):
        assert expected in report
