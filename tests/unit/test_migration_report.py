from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tasks.errors import Reason
from tasks.migrations.applying.moves import Moved
from tasks.migrations.archive import Archived, ArchivedPart
from tasks.migrations.report import MigrationResult, Section
from tasks.migrations.sync.matrix import Cell, EnvironmentRow, Matrix
from tasks.migrations.sync.matrix_report import matrix_markdown, sync_markdown
from tasks.migrations.sync.plan import SyncPlan, TargetPlan
from tasks.migrations.validation.check import SchemaCheck

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


def test_report_lists_revisions_archived_rows_and_findings() -> None:
    part = ArchivedPart(
        entry=1, kind="table", schema_name="public", table="rollout", columns=("id",), rows=4
    )
    moved = Moved(
        environment="local",
        revision="003",
        direction="downgrade",
        outcome="done",
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=1.5),
        archived=Archived(environment="local", revision="003", parts=(part,)),
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


def test_report_takes_the_sections_of_others_and_escapes_its_own() -> None:
    check = SchemaCheck(environment="local", current=("004",), drift=("add index: <b>|x",))
    report = MigrationResult(
        environment="local", direction="upgrade", decision_id=7, verdict="allowed", check=check
    ).as_markdown(Section(title="Hazards", body="none"))
    assert "### Hazards\n\nnone" in report
    assert "add index: &lt;b&gt;\\|x" in report


def matrix() -> Matrix:
    done = Cell(state="applied", script_checksum="abcdef1234", applied_at=NOW, actor="ada")
    dev = EnvironmentRow(
        environment="dev",
        order=0,
        state="drift",
        is_reachable=True,
        heads=("r2",),
        cells={"r1": done, "r2": done},
        drift=("index public.ix is there, and no revision made it",),
        problem="1 differences",
    )
    skipped = {"r1": Cell(state="spliced"), "r2": done.model_copy(update={"actor": "e|ve"})}
    prod = dev.model_copy(
        update={"environment": "prod", "cells": skipped, "gaps": ("r1",), "drift": None}
    )
    gone = EnvironmentRow(
        environment="gone",
        order=2,
        state="unreachable",
        is_reachable=False,
        cells=dict.fromkeys(("r1", "r2"), Cell(state="not applicable")),
        problem="connection refused",
    )
    return Matrix(revisions=("r1", "r2"), environments=(dev, prod, gone))


def test_matrix_has_a_line_for_each_revision_and_says_what_is_wrong_where() -> None:
    lines = matrix_markdown(matrix()).splitlines()
    assert lines[0] == "| revision | dev | prod | gone |"
    assert lines[2] == "| r1 | applied abcdef12 2026-11-20 by ada | spliced | – |"
    assert lines[3].count("e\\|ve") == 1
    assert lines[4:7] == [
        "| at | r2 | r2 | not known |",
        "| state | drift | drift | unreachable |",
        "| drift | 1 | not known | not known |",
    ]
    assert lines[8:] == [
        "- dev: index public.ix is there, and no revision made it",
        "- prod: lacks r1, and has what builds on it",
        "- gone: connection refused",
    ]


def test_plan_to_synchronise_says_what_each_environment_gets_or_why_not() -> None:
    refused = TargetPlan(
        environment="prod",
        verdict="refused",
        revisions=("r1",),
        reasons=(Reason("content-differs", "r1 is <not> the same"),),
    )
    plan = SyncPlan(source="dev", goals=("r2",), targets=(refused,), matrix=matrix())
    text = sync_markdown(plan)
    assert "| prod | refused | r1 | [content-differs] r1 is &lt;not&gt; the same |" in text
    assert (plan.verdict, "| r1 | applied" in text) == ("refused", True)
