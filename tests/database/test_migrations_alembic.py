"""Alembic's own command line, as a person without Headway would use it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from tasks.migrations.project import Project, own
from tasks.migrations.revision_graph.checksums import checksum
from tasks.migrations.revision_graph.reading import read_scripts
from tests.database.migrations import AFTER_NEXT, ALL, HEAD, NEXT, ROOT, copy_scripts, history


def alembic(
    *arguments: str, url: str, variable: str = "DATABASE_URL", **more: str
) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HEADWAY_")}
    return subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=ROOT,
        env={**kept, variable: url, **more},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def plain_url(engine: Engine) -> str:
    return engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


def test_upgrade_downgrade_upgrade_and_check_work_on_the_named_database(
    empty_database: Engine,
) -> None:
    url = plain_url(empty_database)
    for arguments in (("upgrade", "head"), ("downgrade", "-1"), ("upgrade", "head"), ("check",)):
        done = alembic(*arguments, url=url)
        assert done.returncode == 0, done.stderr
    assert "No new upgrade operations detected" in done.stdout
    ups = [("upgrade", revision) for revision in ALL]
    assert history(empty_database) == [*ups, ("downgrade", HEAD), ("upgrade", HEAD)]


def test_command_line_leaves_complete_history_rows(empty_database: Engine) -> None:
    url = plain_url(empty_database)
    said = ("-x", "actor=ada", "-x", "reason=first set-up")
    named = alembic(*said, "upgrade", "002", url=url, variable="HEADWAY_DATABASE_URL")
    assert named.returncode == 0, named.stderr
    with empty_database.connect() as connection:
        rows = connection.execute(
            text("SELECT *, finished_at >= started_at AS ordered FROM headway.migration_run")
        ).all()
    files = {script.revision: script.file for script in read_scripts(own())[0]}
    for row in rows:
        path = ROOT / "migrations" / "versions" / files[row.revision]
        assert row.content_checksum == checksum(path.read_text())
        assert (row.environment, row.actor, row.reason) == ("local", "ada", "first set-up")
        assert row.run_id is None
        assert row.ordered
    assert [row.down_revision for row in rows] == [None, "001"]


def test_stamp_is_in_the_history_with_where_it_came_from(empty_database: Engine) -> None:
    for revision in ("002", "001", "base"):
        assert alembic("stamp", revision, url=plain_url(empty_database)).returncode == 0
    with empty_database.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT direction, revision, down_revision, content_checksum IS NOT NULL "
                "FROM headway.migration_run ORDER BY id"
            )
        )
        assert [tuple(row) for row in rows] == [
            ("stamp", "002", None, True),
            ("stamp", "001", "002", True),
            ("stamp", "base", "001", False),
        ]


def test_two_upgrades_at_once_apply_everything_once(empty_database: Engine) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HEADWAY_")}
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "alembic", "upgrade", "head"],
            cwd=ROOT,
            env={**kept, "DATABASE_URL": plain_url(empty_database)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    errors = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert history(empty_database) == [("upgrade", revision) for revision in ALL]


def test_upgrade_gives_up_on_a_held_table_and_names_the_holder(empty_database: Engine) -> None:
    url = plain_url(empty_database)
    assert alembic("upgrade", "001", url=url).returncode == 0
    with empty_database.connect() as holder:
        holder.execute(text("SELECT * FROM ab_metrics"))
        pid = holder.scalar(text("SELECT pg_backend_pid()"))
        started = time.monotonic()
        failed = alembic("upgrade", "002", url=url, HEADWAY_LOCK_TIMEOUT_SECONDS="0.3")
    assert time.monotonic() - started < 10
    assert failed.returncode != 0
    assert f"session {pid}" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert "ab_metrics in AccessShareLock" in failed.stderr
    assert history(empty_database) == [("upgrade", "001")]


def test_known_errors_are_a_message_without_a_traceback(empty_database: Engine) -> None:
    failed = alembic("-x", "environment=nope", "current", url=plain_url(empty_database))
    assert failed.returncode != 0
    assert failed.stderr.splitlines() == ["there is no environment 'nope'; known: local"]


def test_printed_sql_does_what_the_command_does(bootstrapped_database: Engine) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    printed = alembic("upgrade", "base:head", "--sql", url=nowhere)
    assert printed.returncode == 0, printed.stderr
    assert "SELECT pg_advisory_lock" in printed.stdout
    with bootstrapped_database.connect() as connection:
        autocommit = connection.execution_options(isolation_level="AUTOCOMMIT")
        autocommit.exec_driver_sql(printed.stdout.replace("%", "%%"))
    bootstrapped_database.dispose()  # the session lets go of the lock
    assert history(bootstrapped_database) == [("upgrade", revision) for revision in ALL]
    assert alembic("check", url=plain_url(bootstrapped_database)).returncode == 0


def test_other_applications_tables_are_none_of_our_business(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text("CREATE TABLE somebody_elses (id int)"))
    assert alembic("check", url=plain_url(database)).returncode == 0


def test_check_fails_where_a_column_was_changed_by_hand(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text("ALTER TABLE ab_variants ALTER traffic_weight SET DEFAULT 0.7"))
    assert alembic("check", url=plain_url(database)).returncode != 0


def test_password_of_the_database_is_not_shown() -> None:
    failed = alembic("upgrade", "head", url="postgresql://me:hunter2@127.0.0.1:1/nothing")
    assert failed.returncode != 0
    assert "hunter2" not in failed.stdout + failed.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the revisions that a test may add to; they name a database that nobody needs."""
    copy_scripts(tmp_path)
    return tmp_path


def new_revision(checkout: Path, *arguments: str) -> Path:
    """Make a revision without a database; returns its file."""
    versions = checkout / "migrations" / "versions"
    before = set(versions.glob("*.py"))
    nowhere = {**os.environ, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}
    made = subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=checkout,
        env=nowhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    [path] = set(versions.glob("*.py")) - before
    return path


def test_new_revision_gets_the_next_number_the_agreed_name_and_the_policy(checkout: Path) -> None:
    path = new_revision(checkout, "revision", "-m", "add region")
    [script] = [s for s in read_scripts(Project(path.parent.parent))[0] if s.file == path.name]
    assert (script.revision, script.down_revisions) == (NEXT, (HEAD,))
    assert re.fullmatch(rf"20\d\d_\d\d_\d\d_{NEXT}_add_region\.py", path.name)
    assert "Phase: expand" in path.read_text()
    assert script.title == "add region"


def test_new_revision_may_be_given_another_id(checkout: Path) -> None:
    path = new_revision(checkout, "revision", "--rev-id", "hotfix", "-m", "add region")
    assert path.name.endswith("_hotfix_add_region.py")


def test_new_revisions_pass_the_checks_as_they_come(checkout: Path) -> None:
    first = new_revision(checkout, "revision", "-m", "add region")
    second = new_revision(checkout, "revision", "--head", HEAD, "--splice", "-m", "add town")
    joined = new_revision(checkout, "merge", "-m", "join both", NEXT, AFTER_NEXT)
    for check in (("check", "--no-cache"), ("format", "--check")):
        files = [str(path) for path in (first, second, joined)]
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *check, *files],
            cwd=checkout,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
