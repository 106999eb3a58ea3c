"""Scenarios S13 to S23 of a migration: what happens while it runs, through the flows.

S14, S15 and S23 need a fault at a known statement:
`tests/database/test_migrations_apply.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from flows.migrate import apply_migrations
from tasks.errors import HeadwayError
from tasks.migrations.status import migration_status
from tests.acceptance.scenarios import history, refused, up
from tests.database.projects import AlembicProject

TABLE, NO_TABLE = ["CREATE TABLE t (id int PRIMARY KEY)"], ["DROP TABLE t"]
UNIQUE = "CREATE UNIQUE INDEX CONCURRENTLY idx_v ON t (v)"
IN_A_BLOCK = "with op.get_context().autocommit_block():\n    op.execute({0!r})"


def column(name: str) -> tuple[list[str], list[str]]:
    return [f"ALTER TABLE t ADD {name} text"], [f"ALTER TABLE t DROP {name}"]


def outcomes() -> list[tuple[str | None, str]]:
    """The rows of the history in order, without refusals."""
    return [(row.revision, row.outcome) for row in reversed(history(99)) if row.revision]


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
    """S17 and S19: the rows come while the index is built, after another statement committed."""
    project.revision("r1", None, ["CREATE TABLE t (v int)", "CREATE TABLE u (id int)"], NO_TABLE)
    up()
    body = 'op.execute("ALTER TABLE u ADD w int")\n' + IN_A_BLOCK.format(UNIQUE)
    project.revision("r2", "r1", body, ["DROP INDEX idx_v", "ALTER TABLE u DROP w"])
    approve = ("autocommit-after-ddl@r2",)
    with ThreadPoolExecutor(1) as pool, project.engines["dev"].connect() as writer:
        writer.exec_driver_sql("INSERT INTO t VALUES (7), (7), (8)")
        running = pool.submit(up, approve=approve)
        wait_until(lambda: running.done() or waiting_for_rows(project))
        writer.commit()
        with pytest.raises(HeadwayError, match=r"1 keys of t are there more than once: \(7\)"):
            running.result(30)
    assert outcomes()[-1] == ("r2", "failed")
    reason = refused(project, apply_migrations, approve=approve)
    assert reason.code == "duplicate-values"
    project.execute("dev", "DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t)")
    assert up(approve=approve, rehearse=True) == ["r2"]
    assert outcomes()[-2:] == [("r2", "failed"), ("r2", "done")]
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'idx_v'::regclass"
    assert project.rows("dev", valid) == [(True,)]
    assert project.rows("dev", "SELECT w FROM u") == []


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


def waiting_for_rows(project: AlembicProject) -> list[int]:
    """Backends that wait with building an index until a transaction has ended."""
    query = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
        "AND wait_event_type = 'Lock' AND query LIKE 'CREATE UNIQUE INDEX%'"
    )
    return [pid for (pid,) in project.rows("dev", query)]


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
