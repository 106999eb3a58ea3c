"""What a rehearsal says comes of a migration is what comes of it, or the migration is undone."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.migrate import apply_migrations
from flows.pipeline import run_by_ledger
from tasks.errors import Refused
from tasks.migrations import environments
from tasks.migrations.scratch import sweep
from tasks.migrations.validation.validating import ValidationFailed
from tests.database.projects import AlembicProject, alembic_project

PERSON: dict[str, Any] = {"actor": "ada", "reason": "a test"}
DATA = ("full", "sample", "none")
MIX_UP = [
    "CREATE TYPE mood AS ENUM ('sad', 'ok')",
    "CREATE TABLE owner (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text UNIQUE)",
    "CREATE TABLE pet (id serial PRIMARY KEY, owner_id bigint REFERENCES owner, m mood)",
    "ALTER TABLE pet ALTER m SET DEFAULT 'ok', ADD weight numeric CHECK (weight > 0)",
    "CREATE TABLE visit (pet_id int, on_day date) PARTITION BY RANGE (on_day)",
    "CREATE TABLE visit_2026 PARTITION OF visit FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
    "CREATE VIEW happy AS SELECT id, weight FROM pet WHERE m = 'ok'",
    "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE TRIGGER noted BEFORE INSERT ON pet FOR EACH ROW EXECUTE FUNCTION note()",
    "GRANT SELECT ON pet, happy TO pg_monitor",
    "COMMENT ON TABLE pet IS 'of somebody'",
    "INSERT INTO owner (email) SELECT 'e' || i FROM generate_series(1, 30) AS i",
    "INSERT INTO pet (owner_id, weight) SELECT i, i FROM generate_series(1, 30) AS i",
]
MIX_BACK = [
    "DROP TABLE visit",
    "DROP VIEW happy",
    "DROP TABLE pet",
    "DROP FUNCTION note()",
    "DROP TABLE owner",
    "DROP TYPE mood",
]
BY_ITSELF = """with op.get_context().autocommit_block():
        op.execute("{} INDEX CONCURRENTLY {}")"""
# The same each time in one database, and another in each.
BY_DATABASE = "DO $$BEGIN EXECUTE format('{} TABLE %I {}', 'of_' || current_database()); END$$"
KILLED = """
import time
from flows.pipeline import run_by_ledger
from flows.migrate import plan_migrations
run_by_ledger(plan_migrations, {"actor": "ada", "environment": "dev"})
"""


@pytest.fixture
def three(
    tmp_path: Path, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[AlembicProject]:
    """An environment for each way to copy rows, named after it."""
    with alembic_project(tmp_path, server_url, monkeypatch, DATA) as made:
        for name in DATA:
            made.configure(name, rehearsal_data=name, sample_rows=5)
        yield made


def test_what_is_rehearsed_is_what_comes_of_it_whatever_rows_were_copied(
    three: AlembicProject,
) -> None:
    three.revision("r1", None, MIX_UP, MIX_BACK)
    three.revision(
        "r2",
        "r1",
        BY_ITSELF.format("CREATE", "by_weight ON pet (weight)"),
        BY_ITSELF.format("DROP", "by_weight"),
    )
    for name, goals in {"full": ["r2"], "sample": ["r1", "r2"], "none": ["r2"]}.items():
        for goal in goals:  # at r1 there are rows to be sampled
            asked = {**PERSON, "environment": name, "target": goal}
            result = run_by_ledger(apply_migrations, asked)
            assert result.moved[-1].revision == goal
            assert result.check is not None
            assert result.check.is_as_rehearsed is True
    assert three.rows("none", "SELECT count(*), sum(weight) FROM pet") == [(30, 465)]


def test_a_schema_that_comes_out_otherwise_than_rehearsed_is_undone(
    project: AlembicProject,
) -> None:
    project.revision("r1", None, ["CREATE TABLE t (id int PRIMARY KEY)"], ["DROP TABLE t"])
    asked = {**PERSON, "environment": "dev"}
    run_by_ledger(apply_migrations, asked)
    project.execute("dev", "INSERT INTO t VALUES (1), (2)")
    up, back = BY_DATABASE.format("CREATE", "(i int)"), BY_DATABASE.format("DROP", "")
    project.revision("r2", "r1", [up], [back])
    with pytest.raises(ValidationFailed, match=r"not what the rehearsal made.*r2 rolled back"):
        run_by_ledger(apply_migrations, asked)
    assert project.heads("dev") == ["r1"]
    left = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname LIKE 'of_%'"
    assert project.rows("dev", left) == [(0,)]
    assert project.rows("dev", "SELECT id FROM t ORDER BY id") == [(1,), (2,)]


def test_a_schema_that_is_another_each_time_is_refused_before(project: AlembicProject) -> None:
    name = "'of_' || (random() * 1e9)::int"
    up = f"DO $$BEGIN EXECUTE format('CREATE TABLE %I (i int)', {name}); END$$"
    back = (
        "DO $$BEGIN EXECUTE (SELECT 'DROP TABLE ' || relname FROM pg_class "
        "WHERE relkind = 'r' AND relname LIKE 'of%'); END$$"
    )
    project.revision("r1", None, [up], [back])
    with pytest.raises(Refused, match=r"round-trip-schema-differs"):
        run_by_ledger(apply_migrations, {**PERSON, "environment": "dev"})
    assert project.heads("dev") == []


def test_a_killed_rehearsal_leaves_the_target_as_it_was_and_a_copy_to_be_swept(
    project: AlembicProject,
) -> None:
    project.revision(
        "r1", None, ["CREATE TABLE t (i int)", "SELECT pg_sleep(30)"], ["DROP TABLE t"]
    )
    url = environments.find("dev").url
    with subprocess.Popen([sys.executable, "-c", KILLED]) as process:
        try:
            sleeping = _wait_for_sleeper(project)
        finally:
            process.send_signal(signal.SIGKILL)
    _end_sessions(project, sleeping)
    assert project.rows("dev", "SELECT to_regclass('t') IS NULL") == [(True,)]
    assert project.heads("dev") == []
    assert _is_swept(project, url, sleeping)
    assert project.rows("dev", f"SELECT FROM pg_database WHERE datname = '{sleeping}'") == []


def _wait_for_sleeper(project: AlembicProject) -> str:
    """The copy in which the revision is at work."""
    query = (
        "SELECT datname FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30)' "
        "AND datname LIKE 'headway_scratch_%' AND application_name = 'headway-rehearsal'"
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = project.rows("dev", query)
        if found:
            return str(found[0][0])
        time.sleep(0.05)
    pytest.fail("the rehearsal did not begin")


def _end_sessions(project: AlembicProject, name: str) -> None:
    """Nobody is left who would tell the server's processes that their client has died."""
    project.execute(
        "dev",
        f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'",
    )


def _is_swept(project: AlembicProject, url: str, name: str) -> bool:
    """By this sweep, or by one of another test on the same server."""
    gone = f"SELECT NOT EXISTS (SELECT FROM pg_database WHERE datname = '{name}')"
    deadline = time.monotonic() + 30
    while project.rows("dev", gone) != [(True,)]:
        sweep(url, older_than_seconds=-5)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
