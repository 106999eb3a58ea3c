"""The migration flows, by Prefect and by the ledger alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from flows.migrate import (
    apply_migrations,
    plan_migrations,
    reset_migrations,
    roll_back_migrations,
)
from flows.pipeline import run_by_ledger
from tasks.decisions import replay
from tasks.errors import InputError, Refused
from tasks.migrations import project as own_project
from tasks.rules import load_rules
from tasks.settings import load_settings
from tests.conftest import created_database
from tests.database.migrations import ALL, HEAD, NEXT, ROOT, copy_scripts, history, write_revision
from tests.database.projects import AlembicProject

PERSON: dict[str, Any] = {"actor": "ada", "reason": "a test"}
QUICK: dict[str, Any] = {**PERSON, "rehearse": False}  # for what is not the subject of a test


def rows(engine: Engine) -> list[tuple[Any, ...]]:
    query = text(
        "SELECT environment, revision, down_revision, direction, content_checksum "
        "FROM headway.migration_run ORDER BY id"
    )
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]


def test_flow_brings_an_empty_database_to_head_under_prefect(empty_database: Engine) -> None:
    result = apply_migrations(actor="ada", reason="first set-up")
    assert [(m.revision, m.outcome) for m in result.moved] == [(r, "done") for r in ALL]
    assert result.check.is_sound
    again = apply_migrations(**PERSON)
    assert again.verdict == "nothing-to-do"
    assert "nothing to do" in again.summary
    with empty_database.connect() as connection:
        actors = connection.scalars(text("SELECT actor FROM headway.migration_run")).all()
        states = connection.scalars(text("SELECT state::text FROM headway.run")).all()
    assert actors == ["ada"] * len(ALL)
    assert states == ["completed", "completed"]


def test_rollback_undoes_in_reverse_and_leaves_the_ledger_alone(database: Engine) -> None:
    result = roll_back_migrations(actor="ada", reason="a test", steps=len(ALL), rehearse=False)
    assert [m.revision for m in result.moved] == ALL[::-1]
    assert history(database)[-len(ALL) :] == [("downgrade", r) for r in reversed(ALL)]
    assert [m.revision for m in apply_migrations(**QUICK).moved] == ALL
    with database.connect() as connection:
        rules = connection.scalars(text("SELECT DISTINCT rule FROM headway.decision")).all()
        load_rules()
        assert not replay(connection).differences
    assert {"migration-plan", "schema-drift", "migration-rehearsal", "migration-gate"} < set(rules)


def test_refusal_ends_the_prefect_run_as_refused(database: Engine) -> None:
    state = roll_back_migrations(**PERSON, steps=len(ALL) + 1, return_state=True)
    assert (state.type.value, state.name) == ("FAILED", "Refused")
    assert "fewer-applied" in (state.message or "")


def test_flow_and_command_line_leave_the_same_history(
    empty_database: Engine, server_url: str
) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HEADWAY_")}
    with created_database(server_url, "template1") as other:
        url = other.url.set(drivername="postgresql").render_as_string(hide_password=False)
        for arguments in (("upgrade", "head"), ("downgrade", "-1"), ("upgrade", "head")):
            subprocess.run(
                [sys.executable, "-m", "alembic", *arguments],
                cwd=ROOT,
                env={**kept, "DATABASE_URL": url},
                check=True,
                capture_output=True,
            )
        by_alembic = rows(other)
    run_by_ledger(apply_migrations, QUICK)
    run_by_ledger(roll_back_migrations, QUICK)
    run_by_ledger(apply_migrations, QUICK)
    assert rows(empty_database) == by_alembic


def test_rows_that_a_rollback_takes_away_come_back(
    database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = copy_scripts(tmp_path)
    monkeypatch.setattr(own_project, "ROOT", tmp_path)
    up = 'op.create_table("note", sa.Column("x", sa.Integer))'
    write_revision(versions, NEXT, HEAD, up, 'op.drop_table("note")')
    run_by_ledger(apply_migrations, QUICK)
    with database.begin() as connection:
        connection.execute(text("INSERT INTO note VALUES (1), (2)"))
    back = run_by_ledger(roll_back_migrations, PERSON)
    assert f"| {NEXT} | rolled back | " in back.as_markdown()
    assert back.moved[0].archived is not None
    assert back.moved[0].archived.rows == 2
    forth = run_by_ledger(apply_migrations, dict(PERSON))
    assert forth.moved[0].restored is not None
    assert forth.moved[0].restored.rows == 2
    with database.connect() as connection:
        assert connection.scalars(text("SELECT x FROM note ORDER BY x")).all() == [1, 2]


def test_a_plan_runs_as_it_was_shown_or_not_at_all(project: AlembicProject) -> None:
    project.revision("r1", None, ["CREATE TABLE t (id int PRIMARY KEY)"], ["DROP TABLE t"])
    asked = {"actor": "ada", "environment": "dev"}
    plan = run_by_ledger(plan_migrations, asked)
    assert "there and back: schema and checksums equal" in plan.as_markdown()
    project.execute("dev", "CREATE TABLE by_hand (id int)")
    saved = {**PERSON, "environment": "dev", "plan": plan.short_hash}
    with pytest.raises(Refused, match=r"plan-is-stale.*the schema of the database changed"):
        run_by_ledger(apply_migrations, saved)
    project.execute("dev", "DROP TABLE by_hand")
    assert run_by_ledger(apply_migrations, saved).moved[0].outcome == "done"
    assert project.rows("dev", "SELECT count(*) FROM headway.migration_run") == [(1,)]


def test_rows_that_came_after_a_plan_was_made_are_looked_at(project: AlembicProject) -> None:
    project.revision("r1", None, ["CREATE TABLE t (id int PRIMARY KEY, v int)"], ["DROP TABLE t"])
    run_by_ledger(apply_migrations, {**PERSON, "environment": "dev", "rehearse": False})
    required = ["ALTER TABLE t ALTER v SET NOT NULL"], ["ALTER TABLE t ALTER v DROP NOT NULL"]
    project.revision("r2", "r1", *required)
    plan = run_by_ledger(plan_migrations, {"actor": "ada", "environment": "dev"})
    project.execute("dev", "INSERT INTO t VALUES (1, NULL)")
    with pytest.raises(Refused, match="null-values"):
        run_by_ledger(apply_migrations, {**PERSON, "environment": "dev", "plan": plan.short_hash})


def test_reset_archives_everything_and_asks_for_the_name(project: AlembicProject) -> None:
    """S42."""
    project.revision("r1", None, ["CREATE TABLE t (id int PRIMARY KEY)"], ["DROP TABLE t"])
    asked = {**PERSON, "environment": "dev"}
    run_by_ledger(apply_migrations, {**asked, **QUICK})
    project.execute("dev", "INSERT INTO t VALUES (1), (2)")
    with pytest.raises(Refused, match="unconfirmed-reset"):
        run_by_ledger(reset_migrations, {**asked, "confirm": "prod"})
    project.configure("dev", is_protected=True)
    with pytest.raises(Refused, match="reset-forbidden"):
        run_by_ledger(reset_migrations, {**asked, "confirm": "dev"})
    project.configure("dev", is_protected=False)
    result = run_by_ledger(reset_migrations, {**asked, "confirm": "dev"})
    assert [moved.revision for moved in result.moved] == ["r1"]
    kept = "SELECT revision, row_count FROM headway.archive ORDER BY id"
    assert project.rows("dev", kept) == [("reset", 2), ("r1", 2)]
    run_by_ledger(apply_migrations, {**asked, **QUICK})
    assert project.rows("dev", "SELECT id FROM t ORDER BY id") == [(1,), (2,)]


def test_protected_environment_needs_its_name(
    database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = database.url.render_as_string(hide_password=False)
    monkeypatch.setenv("PROD_URL", url)
    monkeypatch.setenv(
        "HEADWAY_ENVIRONMENTS", '{"prod": {"url_env": "PROD_URL", "is_protected": true}}'
    )
    load_settings.cache_clear()
    with pytest.raises(Refused, match="protected-environment"):
        run_by_ledger(roll_back_migrations, {**PERSON, "environment": "prod"})
    confirmed = {**QUICK, "environment": "prod", "confirm": "prod"}
    assert run_by_ledger(roll_back_migrations, confirmed).moved[0].outcome == "done"


def test_run_that_is_repeated_does_nothing_twice(database: Engine) -> None:
    run_id = "7f0c1f8e-6a55-4f5e-9d5e-0a54c8a7e001"
    first = run_by_ledger(roll_back_migrations, QUICK, run_id)
    second = run_by_ledger(roll_back_migrations, QUICK, run_id)
    assert second == first
    assert history(database)[-1] == ("downgrade", HEAD)
    assert history(database).count(("downgrade", HEAD)) == 1


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"actor": ""}, {"stepz": 1}])
def test_impossible_parameters_are_named(database: Engine, wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        run_by_ledger(roll_back_migrations, {**PERSON, **wrong})
