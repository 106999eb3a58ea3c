from __future__ import annotations

import uuid

import pytest
from sqlalchemy import text

from tasks.database import control_engine
from tasks.errors import NotFound, Refused
from tasks.migrations import steps
from tasks.migrations.timeline import BrokenLink, read_history, verify_chain
from tests.database.projects import AlembicProject, in_a_run
from tests.database.test_migrations_status import apply


def broken(project: AlembicProject) -> list[tuple[int, str]]:
    with project.engines["dev"].connect() as connection:
        return [(link.id, link.revision) for link in verify_chain(connection)]


def tamper(project: AlembicProject, change: str) -> None:
    """As a superuser could."""
    off = "ALTER TABLE headway.migration_run DISABLE TRIGGER USER"
    on = "ALTER TABLE headway.migration_run ENABLE TRIGGER USER"
    project.execute("dev", off, change, on)


def test_history_lists_what_ran_failed_and_was_refused(project: AlembicProject) -> None:
    project.revision("a1", None, ["CREATE TABLE t (id int)"])
    apply(project, "a1")
    project.execute(
        "dev",
        "INSERT INTO headway.migration_run (environment, revision, direction, outcome, actor, "
        "statement, sqlstate, message) VALUES ('dev', 'b2', 'upgrade', 'failed', 'ada', "
        "'ALTER TABLE gone ADD x int', '42P01', 'relation \"gone\" does not exist')",
    )
    project.revision("b2", "nowhere")
    with in_a_run(actor="eve", reason="a hurry"), pytest.raises(Refused):
        steps.plan_migrations(environment="dev").require_not_refused()
    refused, failed, done = read_history("dev")
    assert [refused.outcome, failed.outcome, done.outcome] == ["refused", "failed", "done"]
    assert (refused.actor, refused.reason, refused.direction) == ("eve", "a hurry", "upgrade")
    assert [reason.code for reason in refused.reasons] == ["missing-down-revision"]
    assert (failed.sqlstate, failed.statement) == ("42P01", "ALTER TABLE gone ADD x int")
    assert (done.revision, done.actor, done.reason) == ("a1", "ada", "a test")
    assert done.seconds is not None
    assert read_history("dev", limit=1) == [refused]
    with pytest.raises(NotFound, match="known: dev"):
        read_history("prod")


def test_one_refusal_is_one_row_though_a_gate_repeats_it(project: AlembicProject) -> None:
    reasons = '[{"code": "edited-revision", "message": "it was edited"}]'
    insert = text(
        "INSERT INTO headway.decision (rule, rule_version, subject, verdict, reasons, details, "
        "inputs, run_id, actor) VALUES ('r', 1, :subject, 'refused', CAST(:reasons AS jsonb), "
        "'{}', '{}', :run_id, 'ada')"
    )
    with control_engine().begin() as connection:
        run_id = str(uuid.uuid4())
        for subject in ("migration:dev", "migration:dev:a1", "migration:develop"):
            values = {"subject": subject, "reasons": reasons, "run_id": run_id}
            connection.execute(insert, values)
    [row] = read_history("dev")
    assert (row.revision, row.actor, row.message) == (
        "a1",
        "ada",
        "[edited-revision] it was edited",
    )


def test_chain_shows_which_row_was_changed_or_removed(project: AlembicProject) -> None:
    for below, revision in ((None, "a1"), ("a1", "b2"), ("b2", "c3"), ("c3", "d4")):
        project.revision(revision, below)
    apply(project, "a1", "b2", "c3", "d4")
    assert broken(project) == []
    project.execute("dev", "ALTER TABLE headway.migration_run ADD added_later text")
    assert broken(project) == []
    with pytest.raises(Exception, match="append-only"):
        project.execute("dev", "UPDATE headway.migration_run SET actor = 'eve'")
    tamper(project, "UPDATE headway.migration_run SET actor = 'eve' WHERE revision = 'b2'")
    assert broken(project) == [(2, "b2")]
    tamper(project, "UPDATE headway.migration_run SET actor = 'ada' WHERE revision = 'b2'")
    assert broken(project) == []
    tamper(project, "DELETE FROM headway.migration_run WHERE revision = 'c3'")
    assert broken(project) == [(4, "d4")]
    tamper(project, "DELETE FROM headway.migration_run WHERE revision = 'a1'")
    assert broken(project) == [(2, "b2"), (4, "d4")]
    added = "INSERT INTO headway.migration_run (environment, revision, direction) VALUES "
    tamper(project, added + "('dev', 'e5', 'upgrade')")
    with project.engines["dev"].connect() as connection:
        link = verify_chain(connection)[-1]
    assert link == BrokenLink(
        id=5, revision="e5", direction="upgrade", problem="it was added past the trigger"
    )


def test_rows_from_before_the_chain_are_left_out(project: AlembicProject) -> None:
    project.revision("a1", None)
    apply(project)
    old = "INSERT INTO headway.migration_run (environment, revision, direction) VALUES "
    tamper(project, old + "('dev', 'older', 'upgrade')")
    apply(project, "a1")
    assert broken(project) == []
