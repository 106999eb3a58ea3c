from __future__ import annotations

import time
from pathlib import Path

import pytest
from sqlalchemy import text

from tasks.bootstrap import bootstrap
from tasks.migrations import environments
from tasks.migrations.applying import runner
from tasks.migrations.drift import rebuild
from tasks.migrations.drift.expected import record
from tasks.migrations.revision_graph.heads import current_heads
from tasks.migrations.revision_graph.history import Occasion
from tasks.migrations.status import EnvironmentStatus, migration_status
from tests.database.projects import AlembicProject

TABLE = ["CREATE TABLE t (id int PRIMARY KEY, v text)"]


def apply(project: AlembicProject, *revisions: str, environment: str = "dev") -> None:
    """Run revisions one by one, as a run does it, and remember the schema after them."""
    target = environments.find(environment)
    with project.engines[environment].connect() as connection:
        with connection.begin():
            bootstrap(connection)
        for revision in revisions:
            runner.move(
                connection,
                target.project,
                revision,
                "upgrade",
                Occasion(environment, actor="ada", reason="a test"),
            )
            connection.commit()
            heads = current_heads(connection, target.project)
            fingerprint = rebuild.fingerprint(connection, target.project)
            connection.rollback()
            with connection.begin():
                record(connection, heads, fingerprint, "migrated")


def status() -> EnvironmentStatus:
    [found] = migration_status()
    return found


def test_status_of_an_empty_database_says_what_is_pending(project: AlembicProject) -> None:
    project.revision("a1", None, TABLE)
    project.revision("b2", "a1")
    found = status()
    assert (found.state, found.current_revision, found.head) == ("pending", None, "b2")
    assert found.pending == ("a1", "b2")
    assert (found.drift, found.last_run, found.problem) == (None, None, None)


def test_status_names_the_first_object_that_drifted(project: AlembicProject) -> None:
    project.revision("a1", None, TABLE)
    apply(project, "a1")
    assert (status().state, status().drift) == ("current", 0)
    newer = project.revision("b2", "a1", ["ALTER TABLE t ADD w text"])
    found = status()  # newer code is no drift of a database at its own revision
    assert (found.state, found.drift, found.pending) == ("pending", 0, ("b2",))
    newer.unlink()
    project.execute("dev", "CREATE INDEX ix_hot ON t (v)")
    found = status()
    assert (found.state, found.drift) == ("drift", 1)
    assert found.drift_in_words.startswith("1 (index public.ix_hot is there")
    assert "ix_hot" in (found.problem or "")


def test_column_order_alone_is_information(project: AlembicProject) -> None:
    project.revision("a1", None, ["CREATE TABLE t (id int, v text)"])
    apply(project, "a1")
    project.execute("dev", "DROP TABLE t", "CREATE TABLE t (v text, id int)")
    project.execute("dev", "ANALYZE t")
    found = status()
    assert (found.state, found.drift) == ("current", 0)
    assert [line for line in found.information if "column order" in line]


def test_revisions_without_a_file_do_not_crash_the_status(project: AlembicProject) -> None:
    project.revision("a1", None, TABLE)
    newer = project.revision("b2", "a1", ["ALTER TABLE t ADD w text"])
    apply(project, "a1", "b2")
    newer.unlink()
    found = status()
    assert (found.state, found.is_blocked, found.current_revision) == ("ahead", True, "b2")
    assert [reason.code for reason in found.reasons] == ["unknown-database-revision"]
    assert "headway migrate rollback --env dev --to a1" in (found.problem or "")
    project.execute("dev", "UPDATE alembic_version SET version_num = 'feed'")
    assert (status().state, status().current_revision) == ("unknown", "feed")


def test_graph_that_is_broken_does_not_crash_the_status(project: AlembicProject) -> None:
    project.revision("a1", None, TABLE)
    apply(project, "a1")
    for down, code in (("nowhere", "missing-down-revision"), ("c3", "cycle")):
        project.revision("b2", down)
        project.revision("c3", "b2")
        found = status()
        assert (found.state, found.is_blocked, found.pending) == ("broken", True, ())
        assert code in [reason.code for reason in found.reasons]
    project.revision("b2", "a1")
    project.revision("b2", "a1", file="other.py")
    assert "duplicate-revision" in [reason.code for reason in status().reasons]
    project.revision("b4", "a1", file="other.py")
    found = status()
    assert (found.state, found.head, found.pending) == ("conflict", "c3, b4", ("b2", "b4", "c3"))


def test_edited_spliced_and_missing_files_have_states_of_their_own(
    project: AlembicProject,
) -> None:
    project.revision("a1", None, TABLE)
    project.revision("c3", "a1", ["ALTER TABLE t ADD w text"])
    apply(project, "a1", "c3")
    project.revision("b2", "a1", ["ALTER TABLE t ADD x text"])
    project.revision("c3", "b2", ["ALTER TABLE t ADD w text"])
    assert (status().state, status().pending) == ("spliced", ())
    project.revision("c3", "a1", ["ALTER TABLE t ADD w int"])
    (project.versions / "b2.py").unlink()
    assert status().state == "edited"
    project.revision("c3", "a1", ["ALTER TABLE t ADD w text"])
    (project.versions / "a1.py").unlink()
    assert status().state == "missing"


def test_stamp_never_compared_and_history_elsewhere_are_said(project: AlembicProject) -> None:
    project.revision("a1", None, TABLE)
    apply(project)
    project.execute(
        "dev",
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
        "INSERT INTO alembic_version VALUES ('a1')",
        "INSERT INTO headway.migration_run (environment, revision, direction) "
        "VALUES ('dev', 'a1', 'stamp')",
    )
    found = status()
    assert (found.stamped, "stamped" in (found.problem or "")) == (("a1",), True)
    project.execute("dev", "CREATE SCHEMA app", "ALTER TABLE alembic_version SET SCHEMA app")
    found = status()  # not taken for an empty database
    assert (found.state, found.is_blocked) == ("elsewhere", True)


def test_read_only_database_is_readable(project: AlembicProject) -> None:
    project.revision("a1", None, TABLE)
    apply(project, "a1")
    name = project.engines["dev"].url.database
    project.execute("dev", f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    found = status()
    assert (found.state, found.is_read_only, found.drift) == ("current", True, 0)
    assert "read-only" in (found.problem or "")


def test_one_unreachable_environment_hides_no_other(
    project: AlembicProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.revision("a1", None, TABLE)
    project.configure()
    added = '[environments.gone]\norder = 1\nurl = "postgresql://me:hunter2@127.0.0.1:1/x"\n'
    added += '[environments.unset]\norder = 2\nurl_env = "NOT_SET_ANYWHERE"\n'
    _append(project.folder / "headway.toml", added)
    found = {each.environment: each for each in migration_status()}
    states = {name: each.state for name, each in found.items()}
    assert states == {"dev": "pending", "gone": "unreachable", "unset": "unreachable"}
    assert "hunter2" not in found["gone"].model_dump_json()
    assert "NOT_SET_ANYWHERE" in (found["unset"].problem or "")


def test_status_does_not_wait_for_a_running_migration(project: AlembicProject) -> None:
    project.revision("a1", None, [*TABLE, "CREATE VIEW w AS SELECT id FROM t"])
    apply(project, "a1")
    with project.engines["dev"].connect() as other:
        other.execute(text("LOCK TABLE t IN ACCESS EXCLUSIVE MODE"))
        started = time.monotonic()
        found = status()
        assert time.monotonic() - started < 1.5
    assert (found.state, found.current_revision) == ("current", "a1")
    assert found.drift is None
    assert "drift is not known" in (found.problem or "")


def _append(path: Path, added: str) -> None:
    from tasks.settings import load_settings

    path.write_text(path.read_text() + added)
    load_settings.cache_clear()
