"""Scenarios S13 to S23 of a migration: what happens while it runs, through the flows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flows.migrate import apply_migrations, plan_migrations
from flows.pipeline import run_by_ledger
from tasks.errors import HeadwayError
from tasks.migrations.plans.prepared import MigrationPlan
from tasks.migrations.status import migration_status
from tests.acceptance.scenarios import history, refused, up
from tests.conftest import ROOT
from tests.database.projects import AlembicProject

TABLE, NO_TABLE = ["CREATE TABLE t (id int PRIMARY KEY)"], ["DROP TABLE t"]
UNIQUE = "CREATE UNIQUE INDEX CONCURRENTLY idx_v ON t (v)"
NO_INDEX = ["DROP INDEX idx_v"]
IN_A_BLOCK = "with op.get_context().autocommit_block():\n    op.execute({0!r})"


def column(name: str) -> tuple[list[str], list[str]]:
    return [f"ALTER TABLE t ADD {name} text"], [f"ALTER TABLE t DROP {name}"]


def outcomes() -> list[tuple[str | None, str]]:
    """The rows of the history in order, without refusals."""
    return [(row.revision, row.outcome) for row in reversed(history(99)) if row.revision]


def planned(**asked: Any) -> MigrationPlan:
    return run_by_ledger(
        plan_migrations, {"actor": "ada", "environment": "dev", "rehearse": False, **asked}
    )


def test_third_of_three_fails_and_the_rerun_starts_there(project: AlembicProject) -> None:
    """S13."""
    project.revision("r1", None, TABLE, NO_TABLE)
    project.revision("r2", "r1", *column("c"))
    project.revision("r3", "r2", ["ALTER TABLE t ADD d text", "SELECT 1 / 0"])
    with pytest.raises(Exception, match="division by zero"):
        up()
    assert project.heads("dev") == ["r2"]
    failed = history()[0]
    assert (failed.revision, failed.outcome, failed.statement, failed.sqlstate) == (
        "r3",
        "failed",
        "SELECT 1 / 0",
        "22012",
    )
    project.revision("r3", "r2", *column("d"))
    assert up() == ["r3"]


def test_an_index_that_duplicates_left_invalid_is_built_anew(project: AlembicProject) -> None:
    """S17: the rows came after the plan."""
    project.revision("r1", None, ["CREATE TABLE t (v int)"], NO_TABLE)
    up()
    project.revision("r2", "r1", IN_A_BLOCK.format(UNIQUE), NO_INDEX)
    plan = planned()
    project.execute("dev", "INSERT INTO t VALUES (7), (7), (8)")
    with pytest.raises(HeadwayError, match=r"1 keys of t are there more than once: \(7\)"):
        up(plan=plan.short_hash)
    assert outcomes()[-1] == ("r2", "failed")
    reason = refused(project, apply_migrations)
    assert reason.code == "duplicate-values"
    project.execute("dev", "DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t)")
    assert up(rehearse=True) == ["r2"]
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'idx_v'::regclass"
    assert project.rows("dev", valid) == [(True,)]


def test_a_partly_committed_revision_goes_on_where_it_stopped(project: AlembicProject) -> None:
    """S19."""
    project.revision("r1", None, ["CREATE TABLE t (v int)"], NO_TABLE)
    up()
    body = 'op.execute("ALTER TABLE t ADD w int")\n' + IN_A_BLOCK.format(UNIQUE)
    project.revision("r2", "r1", body, ["DROP INDEX idx_v", "ALTER TABLE t DROP w"])
    approve = ("autocommit-after-ddl@r2",)
    plan = planned(approve=approve)
    project.execute("dev", "INSERT INTO t VALUES (7), (7), (8)")
    with pytest.raises(HeadwayError, match="more than once"):
        up(plan=plan.short_hash)
    project.execute("dev", "DELETE FROM t WHERE v = 7", "INSERT INTO t VALUES (9, 9)")
    assert up(approve=approve, rehearse=True) == ["r2"]
    assert project.rows("dev", "SELECT w FROM t WHERE v = 9") == [(9,)]
    assert outcomes()[1:] == [("r2", "failed"), ("r2", "done")]


def test_a_stamp_is_compared_with_the_schema_and_refused(project: AlembicProject) -> None:
    """S21: also where nothing would be left to do."""
    project.revision("r1", None, TABLE, NO_TABLE)
    project.revision("r2", "r1", *column("c"))
    project.execute(
        "dev",
        "CREATE TABLE alembic_version (version_num text)",
        "INSERT INTO alembic_version VALUES ('r2')",
    )
    [status] = migration_status(["dev"])
    assert "never compared with the schema: r1, r2" in (status.problem or "")
    reason = refused(project, apply_migrations)
    assert reason.code == "stamped-not-applied"
    assert "says r2, but the schema is that of base" in reason.message
    project.execute("dev", *TABLE, *column("c")[0])  # the second way out
    assert up() == []


def test_what_a_killed_client_left_running_is_not_applied_twice(project: AlembicProject) -> None:
    """S14: the command is killed in a statement; a new run waits for what is left of it."""
    project.revision("r1", None, [*TABLE, "SELECT pg_sleep(2)"], NO_TABLE)
    killed = command("run", "--env", "dev", "--no-rehearse", "--actor", "ada", "--reason", "why")
    wait_until(lambda: killed.poll() is not None or sleeping(project))
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert sleeping(project)
    assert up() == ["r1"]
    assert outcomes() == [("r1", "done")]


def test_a_terminated_backend_is_tried_again(project: AlembicProject) -> None:
    """S15."""
    project.revision("r1", None, [*TABLE, "SELECT pg_sleep(0.8)"], NO_TABLE)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(up)
        wait_until(lambda: running.done() or sleeping(project))
        project.execute("dev", f"SELECT pg_terminate_backend({sleeping(project)[0]})")
        assert running.result(30) == ["r1"]
    assert outcomes() == [("r1", "failed"), ("r1", "done")]


def test_of_three_runs_at_once_one_applies_and_the_others_find_it_done(
    project: AlembicProject,
) -> None:
    """S20: none of them fails."""
    project.revision("r1", None, [*TABLE, "SELECT pg_sleep(0.5)"], NO_TABLE)
    project.revision("r2", "r1", *column("c"))
    with ThreadPoolExecutor(3) as pool:
        found = [running.result(60) for running in [pool.submit(up) for _ in range(3)]]
    assert sorted(revision for each in found for revision in each) == ["r1", "r2"]
    assert outcomes() == [("r1", "done"), ("r2", "done")]


def test_a_lost_migration_lock_is_noticed_before_the_next_statement(
    project: AlembicProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S23: nothing of the try stays, and the next one applies it once."""
    failover = (
        "import os\n"
        'op.execute("CREATE TABLE t (id int PRIMARY KEY)")\n'
        'if not op.get_context().as_sql and os.environ.pop("FAIL_OVER", None):\n'
        '    op.get_bind().exec_driver_sql("SELECT pg_advisory_unlock_all()")\n'
        'op.execute("CREATE TABLE x (id int)")'
    )
    project.revision("r1", None, failover, ["DROP TABLE x", *NO_TABLE])
    plan = planned()
    monkeypatch.setenv("FAIL_OVER", "1")
    assert up(plan=plan.short_hash) == ["r1"]
    assert outcomes() == [("r1", "failed"), ("r1", "done")]


def command(*words: str) -> subprocess.Popen[bytes]:
    """`headway migrate …` in a process of its own."""
    code = "from flows.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "migrate", *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )


def sleeping(project: AlembicProject) -> list[int]:
    """Backends of a migration that are in a long statement."""
    query = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' "
        "AND application_name LIKE 'headway-migrate/%' AND query LIKE 'SELECT pg_sleep%'"
    )
    return [pid for (pid,) in project.rows("dev", query)]


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
