"""Faults while a revision is applied: real kills, cuts, locks and threads."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import event, text

from tasks import retries
from tasks.database import control_engine
from tasks.errors import EffectUnknown, LockNotAcquired, Refused
from tasks.migrations import environments, steps
from tasks.migrations.applying import fence, moves
from tasks.migrations.applying.invalid_indexes import IndexLeftInvalid
from tasks.migrations.applying.moves import Moved
from tasks.migrations.archive import Effect
from tasks.migrations.drift import rebuild
from tasks.migrations.validation import check
from tasks.settings import load_settings
from tests.database.projects import AlembicProject, in_a_run

ROOT = Path(__file__).parents[2]
IN_A_BLOCK = "with op.get_context().autocommit_block():\n    op.execute({0!r})"
CLIENT = """
from tasks.migrations.applying import moves
from tests.database.projects import in_a_run

with in_a_run():
    moves.upgrade("dev", "a1")
"""
UNIQUE = "CREATE UNIQUE INDEX CONCURRENTLY idx_v ON t (v)"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits between tries."""
    monkeypatch.setattr(retries, "FIRST_DELAY_SECONDS", 0.01)


def setting(monkeypatch: pytest.MonkeyPatch, **values: float) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"HEADWAY_{name.upper()}", str(value))
    load_settings.cache_clear()


def apply(*revisions: str) -> list[Moved]:
    """A run that applies these revisions."""
    with in_a_run():
        return [steps.apply_revision(environment="dev", revision=each) for each in revisions]


def history(project: AlembicProject) -> list[tuple[str, str]]:
    query = "SELECT revision, outcome FROM headway.migration_run ORDER BY id"
    return [(revision, outcome) for revision, outcome in project.rows("dev", query)]


def is_there(project: AlembicProject, table: str) -> bool:
    return project.rows("dev", f"SELECT to_regclass('{table}') IS NOT NULL") == [(True,)]


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def migrating(project: AlembicProject, query: str) -> list[int]:
    """Backends of migrations that run (or wait in) a statement like this."""
    found = project.rows(
        "dev",
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' "
        f"AND application_name LIKE 'headway-migrate/%' AND query LIKE '{query}'",
    )
    return [pid for (pid,) in found]


def test_s13_third_of_three_fails_and_the_rerun_starts_there(project: AlembicProject) -> None:
    project.revision("a1", None, ["CREATE TABLE a (x int)"])
    project.revision("b2", "a1", ["CREATE TABLE b (x int)"])
    project.revision("c3", "b2", ["CREATE TABLE c (x int)", "SELECT 1 / 0"])
    with pytest.raises(sa.exc.DataError):
        apply("a1", "b2", "c3")
    assert project.heads("dev") == ["b2"]
    failed = project.rows(
        "dev",
        "SELECT revision, statement, sqlstate, message, direction, actor FROM "
        "headway.migration_run WHERE outcome = 'failed'",
    )
    assert failed == [("c3", "SELECT 1 / 0", "22012", "division by zero", "upgrade", "ada")]
    project.revision("c3", "b2", ["CREATE TABLE c (x int)"])
    assert [m.outcome for m in apply("a1", "b2", "c3")] == ["already", "already", "done"]
    assert history(project)[-1] == ("c3", "done")


def test_s14_backend_of_a_killed_client_is_waited_for_and_nothing_applied_twice(
    project: AlembicProject,
) -> None:
    up = (
        "import os\n"
        'op.execute("CREATE TABLE a (x int)")\n'
        "op.execute(f\"SELECT pg_sleep({os.environ.get('NAP', 0)})\")"
    )
    project.revision("a1", None, up)
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT],
        cwd=project.folder,
        env=os.environ | {"NAP": "60", "PYTHONPATH": str(ROOT)},
    )
    try:
        wait_until(lambda: migrating(project, "%pg_sleep%"))
    finally:
        client.send_signal(signal.SIGKILL)
        client.wait()
    assert migrating(project, "%pg_sleep%")  # it goes on without its client
    started = time.monotonic()
    assert [m.outcome for m in apply("a1")] == ["done"]
    assert time.monotonic() - started < 20
    assert history(project) == [("a1", "done")]


def test_s14_session_of_a_dead_run_is_ended_when_that_is_approved(
    project: AlembicProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, migration_wait_seconds=0.2)
    project.revision("a1", None, ["CREATE TABLE a (x int)"])
    with _session_of_another_run(project) as run_id:
        with pytest.raises(LockNotAcquired, match=rf"headway-migrate/{run_id}"), in_a_run():
            moves.upgrade("dev", "a1")
        with in_a_run():
            assert moves.upgrade("dev", "a1", terminate_orphans=True).outcome == "done"


@contextmanager
def _session_of_another_run(project: AlembicProject) -> Iterator[str]:
    run_id = "3f0c5a52-1111-4222-8333-444455556666"
    url = project.engines["dev"].url
    orphan = environments.engine(url.render_as_string(False), f"headway-migrate/{run_id}")
    connection = orphan.connect()
    fence.take(connection, wait_seconds=1)
    yield run_id
    connection.invalidate()
    connection.close()


def test_s15_terminated_backend_is_retried_and_applied_once(project: AlembicProject) -> None:
    project.revision("a1", None, ["CREATE TABLE a (x int)", "SELECT pg_sleep(0.8)"])
    with ThreadPoolExecutor(1) as pool:
        applying = pool.submit(apply, "a1")
        wait_until(lambda: migrating(project, "SELECT pg_sleep%"))
        [pid] = migrating(project, "SELECT pg_sleep%")
        project.execute("dev", f"SELECT pg_terminate_backend({pid})")
        assert [m.outcome for m in applying.result(30)] == ["done"]
    assert history(project) == [("a1", "failed"), ("a1", "done")]


@pytest.fixture
def doubled(project: AlembicProject) -> AlembicProject:
    """A table with a duplicate, and a revision that adds a column, then a unique index."""
    project.execute("dev", "CREATE TABLE t (v int)", "INSERT INTO t VALUES (7), (7), (8)")
    up = 'op.execute("ALTER TABLE t ADD w int")\n' + IN_A_BLOCK.format(UNIQUE)
    project.revision("a1", None, up)
    return project


def test_s17_duplicates_are_reported_and_the_invalid_index_is_built_anew(
    doubled: AlembicProject,
) -> None:
    up = IN_A_BLOCK.format(UNIQUE.replace("idx_v", "IF NOT EXISTS idx_v"))
    doubled.revision("a1", None, up)
    with pytest.raises(IndexLeftInvalid, match=r"1 keys of t are there more than once: \(7\)"):
        apply("a1")
    assert doubled.heads("dev") == []
    doubled.execute("dev", "DELETE FROM t WHERE v = 7")
    assert [m.outcome for m in apply("a1")] == ["done"]
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'idx_v'::regclass"
    assert doubled.rows("dev", valid) == [(True,)]


def test_s19_partly_committed_revision_goes_on_where_it_stopped(doubled: AlembicProject) -> None:
    with pytest.raises(IndexLeftInvalid):
        apply("a1")
    doubled.execute("dev", "DELETE FROM t WHERE v = 7", "INSERT INTO t (v, w) VALUES (9, 9)")
    assert [m.outcome for m in apply("a1")] == ["done"]
    assert doubled.rows("dev", "SELECT w FROM t WHERE v = 9") == [(9,)]
    states = "SELECT statement, state FROM headway.migration_statement ORDER BY id"
    assert doubled.rows("dev", states) == [
        ("ALTER TABLE t ADD w int", "done"),
        ("COMMIT", "done"),
        (UNIQUE, "failed"),
        (UNIQUE, "done"),
    ]
    assert history(doubled) == [("a1", "failed"), ("a1", "done")]


def test_s19_statements_that_were_done_may_not_change(doubled: AlembicProject) -> None:
    with pytest.raises(IndexLeftInvalid):
        apply("a1")
    up = 'op.execute("ALTER TABLE t ADD other int")\n' + IN_A_BLOCK.format(UNIQUE)
    doubled.revision("a1", None, up)
    with pytest.raises(Refused, match=r"journal-does-not-match.*ADD w int.*ADD other int"):
        apply("a1")


def test_reads_of_a_resumed_revision_are_answered_and_changes_not_repeated(
    project: AlembicProject,
) -> None:
    """What a block committed with its own row is not sent again, not even a function's effect."""
    project.execute(
        "dev",
        "CREATE TABLE t (v int)",
        "INSERT INTO t VALUES (7), (7)",
        "CREATE FUNCTION more() RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES (1) RETURNING v'",
    )
    project.revision(
        "a1",
        None,
        "bind = op.get_bind()\n"
        'kinds = bind.exec_driver_sql("SELECT 5 AS five").scalar() if bind else 5\n'
        "with op.get_context().autocommit_block():\n"
        '    op.execute("UPDATE t SET v = v + %d" % kinds)\n'
        '    op.execute("SELECT more()")\n' + f"    op.execute({UNIQUE!r})",
    )
    with pytest.raises(IndexLeftInvalid):
        apply("a1")
    project.execute("dev", "DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t WHERE v = 12)")
    assert [m.outcome for m in apply("a1")] == ["done"]
    assert sorted(project.rows("dev", "SELECT v FROM t")) == [(1,), (12,)]


def test_s20_three_runs_at_once_apply_it_once_and_the_others_find_it_done(
    project: AlembicProject,
) -> None:
    project.revision("a1", None, ["CREATE TABLE a (x int)", "SELECT pg_sleep(0.2)"])
    control_engine()  # made once, before there are three threads
    barrier = threading.Barrier(3)

    def together() -> list[Moved]:
        barrier.wait(10)
        return apply("a1")

    with ThreadPoolExecutor(3) as pool:
        outcomes = [f.result(60)[0].outcome for f in [pool.submit(together) for _ in range(3)]]
    assert sorted(outcomes) == ["already", "already", "done"]
    assert history(project) == [("a1", "done")]


def test_s23_a_lost_migration_lock_is_noticed_before_the_next_statement(
    project: AlembicProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.revision(
        "a1",
        None,
        "import os\n"
        "bind = op.get_bind()\n"
        'op.execute("CREATE TABLE a (x int)")\n'
        'if not op.get_context().as_sql and os.environ.pop("FAIL_OVER", None):\n'
        '    bind.exec_driver_sql("SELECT pg_advisory_unlock_all()")\n'
        'op.execute("CREATE TABLE b (x int)")',
    )
    monkeypatch.setenv("FAIL_OVER", "1")
    with pytest.raises(fence.FenceLost), in_a_run():
        moves.upgrade("dev", "a1")
    assert not is_there(project, "a")
    assert [m.outcome for m in apply("a1")] == ["done"]


def test_s23_a_follower_is_noticed_by_its_number(project: AlembicProject) -> None:
    project.revision("a1", None, ["CREATE TABLE a (x int)"])
    apply("a1")
    with project.engines["dev"].connect() as connection:
        held = fence.take(connection, wait_seconds=1)
        fence.look(connection, held)
        connection.rollback()
        project.execute("dev", "UPDATE headway.migration_fence SET token = token + 1")
        with pytest.raises(fence.FenceLost):
            fence.look(connection, held)


def test_s25_a_held_table_is_given_up_soon_and_bystanders_wait_no_longer(
    project: AlembicProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, lock_timeout_seconds=0.15)
    project.execute("dev", "CREATE TABLE t (v int)")
    project.revision("a1", None, ["ALTER TABLE t ADD w int"])
    waits: list[float] = []
    is_over = threading.Event()

    def look_again_and_again() -> None:
        while not is_over.is_set():
            started = time.monotonic()
            project.rows("dev", "SELECT count(*) FROM t")
            waits.append(time.monotonic() - started)

    with ThreadPoolExecutor(1) as pool, project.engines["dev"].connect() as holder:
        holder.execute(text("SELECT * FROM t"))
        pid = holder.scalar(text("SELECT pg_backend_pid()"))
        watching = pool.submit(look_again_and_again)
        try:
            with pytest.raises(LockNotAcquired, match=rf"session {pid} .*t in AccessShare"):
                apply("a1")
        finally:
            is_over.set()
        watching.result(10)
    assert 0.05 < max(waits) < 2 * 0.15 + 0.5
    assert history(project) == [("a1", "failed")] * (steps.apply_revision.retries + 1)
    with control_engine().connect() as control:
        tries = control.scalars(text("SELECT is_retryable FROM headway.step_attempt")).all()
    assert tries == [True] * (steps.apply_revision.retries + 1)


def test_s27_a_deadlock_is_tried_again_as_a_whole(
    project: AlembicProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, lock_timeout_seconds=20)
    name = project.engines["dev"].url.database
    project.execute("dev", f"ALTER DATABASE \"{name}\" SET deadlock_timeout = '100ms'")
    project.execute("dev", "CREATE TABLE a (x int)", "CREATE TABLE b (x int)")
    project.engines["dev"].dispose()
    project.revision("a1", None, ["ALTER TABLE a ADD y int", "ALTER TABLE b ADD y int"])
    with ThreadPoolExecutor(1) as pool, project.engines["dev"].begin() as application:
        application.execute(text("SET LOCAL deadlock_timeout = '1min'"))
        application.execute(text("LOCK TABLE b"))
        applying = pool.submit(apply, "a1")
        wait_until(lambda: migrating(project, "ALTER TABLE b%"))
        application.execute(text("LOCK TABLE a"))  # now each waits for the other
        application.commit()
        assert [m.outcome for m in applying.result(30)] == ["done"]
    assert project.rows(
        "dev", "SELECT outcome, sqlstate FROM headway.migration_run ORDER BY id"
    ) == [("failed", "40P01"), ("done", None)]


def test_s28_a_second_try_while_the_first_still_runs_sends_no_ddl(
    project: AlembicProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, migration_wait_seconds=0.2)
    project.revision("a1", None, ["CREATE TABLE a (x int)", "SELECT pg_sleep(1)"])
    control_engine()

    def first() -> Moved:
        with in_a_run():
            return moves.upgrade("dev", "a1")

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(first)
        wait_until(lambda: migrating(project, "SELECT pg_sleep%"))
        with in_a_run(), pytest.raises(LockNotAcquired) as refusal:
            moves.upgrade("dev", "a1")
        assert re.search(r"headway-migrate/[0-9a-f-]{36}\) holds", str(refusal.value))
        assert running.result(30).outcome == "done"
    assert history(project) == [("a1", "done")]


def test_s39_an_enum_value_is_added_and_used_in_one_run(project: AlembicProject) -> None:
    project.revision("a1", None, ["CREATE TYPE mood AS ENUM ('ok')", "CREATE TABLE t (m mood)"])
    project.revision("b2", "a1", ["ALTER TYPE mood ADD VALUE 'fine'"])
    project.revision("c3", "b2", ["INSERT INTO t VALUES ('fine')"])
    assert [m.outcome for m in apply("a1", "b2", "c3")] == ["done"] * 3
    assert project.rows("dev", "SELECT m::text FROM t") == [("fine",)]


def test_a_commit_whose_answer_is_lost_is_found_in_the_history(project: AlembicProject) -> None:
    project.revision("a1", None, ["CREATE TABLE a (x int)"])
    cut: list[int] = []

    def cut_after_the_commit(connection: sa.Connection, _c: object, sql: str, *_: object) -> None:
        if "Did this run move this revision" in sql:
            pid = connection.connection.driver_connection.info.backend_pid  # type: ignore[union-attr]
            if not cut and project.heads("dev") == ["a1"]:
                cut.append(pid)
                project.execute("dev", f"SELECT pg_terminate_backend({pid}, 5000)")

    event.listen(sa.Engine, "before_cursor_execute", cut_after_the_commit)
    try:
        assert [m.outcome for m in apply("a1")] == ["done"]
    finally:
        event.remove(sa.Engine, "before_cursor_execute", cut_after_the_commit)
    assert cut
    assert history(project) == [("a1", "done")]


def test_locks_are_timed_beside_what_was_predicted(project: AlembicProject) -> None:
    project.execute("dev", "CREATE TABLE t (v int)")
    project.revision("a1", None, ["ALTER TABLE t ADD w int", "SELECT pg_sleep(0.1)"])
    with in_a_run():
        moves.upgrade("dev", "a1", predicted_lock_ms={"public.t": 12.5})
    with control_engine().connect() as control:
        rows = control.execute(
            text("SELECT relation, mode, predicted_ms, actual_ms > 100 FROM headway.lock_time")
        ).all()
    assert [tuple(row) for row in rows] == [("public.t", "AccessExclusiveLock", 12.5, True)]


def test_rows_that_a_downgrade_takes_away_come_back_also_where_it_commits_on_its_way(
    project: AlembicProject,
) -> None:
    project.revision(
        "a1",
        None,
        ["CREATE TABLE t (id int PRIMARY KEY, v int)", "CREATE INDEX idx_v ON t (v)"],
        'op.execute("ALTER TABLE t DROP v")\n'
        + IN_A_BLOCK.format("DROP INDEX CONCURRENTLY IF EXISTS idx_v")
        + '\nop.execute("DROP TABLE t")',
    )
    apply("a1")
    project.execute("dev", "INSERT INTO t VALUES (1, 10), (2, 20)")
    effect = Effect(dropped_tables=(("public", "t"),))
    with in_a_run():
        undone = moves.downgrade("dev", "a1", effect)
        assert undone.archived is not None
        assert undone.archived.rows == 2
        assert not is_there(project, "t")
        again = moves.upgrade("dev", "a1")
    assert again.restored is not None
    assert again.restored.rows == 2
    assert project.rows("dev", "SELECT * FROM t ORDER BY id") == [(1, 10), (2, 20)]


def test_a_downgrade_that_fails_archives_nothing(project: AlembicProject) -> None:
    back = ["DROP TABLE t", "SELECT 1 / 0"]
    project.revision("a1", None, ["CREATE TABLE t (id int PRIMARY KEY)"], back)
    apply("a1")
    project.execute("dev", "INSERT INTO t VALUES (1)")
    with in_a_run(), pytest.raises(sa.exc.DataError):
        moves.downgrade("dev", "a1", Effect(dropped_tables=(("public", "t"),)))
    assert project.rows("dev", "SELECT id FROM t") == [(1,)]
    assert project.rows("dev", "SELECT 1 FROM headway.archive WHERE is_complete") == []
    assert history(project) == [("a1", "done"), ("a1", "failed")]


def test_the_schema_is_compared_with_the_rehearsed_one_and_recorded(
    project: AlembicProject,
) -> None:
    project.revision("a1", None, ["CREATE TABLE t (id int PRIMARY KEY)"])
    apply("a1")
    target = environments.find("dev")
    with project.engines["dev"].connect() as connection:
        expected = rebuild.fingerprint(connection, target.project).hash
        wrong = check.verify(connection, target, rehearsed_hash="another")
        assert (wrong.is_as_rehearsed, wrong.is_sound) == (False, False)
        assert project.rows("dev", "SELECT 1 FROM headway.schema_fingerprint") == []
        right = check.verify(connection, target, rehearsed_hash=expected)
        assert (right.is_as_rehearsed, right.is_sound) == (True, True)
    recorded = project.rows("dev", "SELECT heads, hash FROM headway.schema_fingerprint")
    assert recorded == [(["a1"], expected)]


def test_s19_index_of_a_build_that_was_cut_off_is_dropped_and_built_anew(
    project: AlembicProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, lock_timeout_seconds=20)
    project.execute("dev", "CREATE TABLE t (v int)")
    project.revision("a1", None, IN_A_BLOCK.format(UNIQUE))
    with ThreadPoolExecutor(1) as pool, project.engines["dev"].connect() as writer:
        writer.execute(text("INSERT INTO t VALUES (1)"))  # the build waits for it
        applying = pool.submit(apply, "a1")
        wait_until(lambda: migrating(project, "CREATE UNIQUE INDEX%"))
        wait_until(lambda: project.rows("dev", "SELECT 1 FROM pg_index WHERE NOT indisvalid"))
        [pid] = migrating(project, "CREATE UNIQUE INDEX%")
        project.execute("dev", f"SELECT pg_terminate_backend({pid}, 5000)")
        writer.commit()
        assert [m.outcome for m in applying.result(30)] == ["done"]
    states = "SELECT statement = 'COMMIT', state FROM headway.migration_statement ORDER BY id"
    assert project.rows("dev", states) == [(True, "done"), (False, "failed"), (False, "done")]
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'idx_v'::regclass"
    assert project.rows("dev", valid) == [(True,)]


def test_what_nothing_shows_to_have_happened_is_not_guessed(project: AlembicProject) -> None:
    project.revision("a1", None, IN_A_BLOCK.format("DO 'BEGIN PERFORM pg_sleep(5); END'"))
    with ThreadPoolExecutor(1) as pool:
        applying = pool.submit(apply, "a1")
        wait_until(lambda: migrating(project, "DO %"))
        [pid] = migrating(project, "DO %")
        project.execute("dev", f"SELECT pg_terminate_backend({pid}, 5000)")
        with pytest.raises(EffectUnknown, match="was cut off"):
            applying.result(30)
    assert project.heads("dev") == []
