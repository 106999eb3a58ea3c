"""Rollback and upgrade of real revisions, with the archive around them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from tasks.bootstrap import bootstrap
from tasks.migrations.applying import moves, runner
from tasks.migrations.archive import (
    Archived,
    Effect,
    Restored,
    archive,
    copy_bulk,
    enum_usage,
    finish,
    map_enum_values,
    restore,
    restore_pending,
)
from tests.database.archives import checksums
from tests.database.projects import AlembicProject, in_a_run

LOST = ("public", "state", "lost")


def upgrade(project: AlembicProject, revision: str) -> Restored:
    with project.engines["dev"].begin() as connection:
        bootstrap(connection)
        runner.move(connection, project.project, revision, "upgrade")
        return restore(connection, "dev", revision)


def roll_back(project: AlembicProject, revision: str, effect: Effect, **mapped: str) -> Archived:
    engine = project.engines["dev"]
    copy_bulk(engine, "dev", revision, effect, None)
    with engine.begin() as connection:
        archived = archive(connection, "dev", revision, effect, None)
        map_enum_values(connection, {(*LOST[:2], old): new for old, new in mapped.items()})
        runner.move(connection, project.project, revision, "downgrade")
        return finish(connection, archived)


def test_a_column_that_a_revision_added_comes_back(project: AlembicProject) -> None:
    project.revision("a1", None, ["CREATE TABLE t (id int PRIMARY KEY)"], ["DROP TABLE t"])
    project.revision("b2", "a1", ["ALTER TABLE t ADD v text"], ["ALTER TABLE t DROP v"])
    upgrade(project, "a1")
    upgrade(project, "b2")
    project.execute("dev", "INSERT INTO t SELECT n, md5(n::text) FROM generate_series(1, 99) AS n")
    before = checksums(project.engines["dev"], "t")
    archived = roll_back(project, "b2", Effect(dropped_columns=(("public", "t", "v"),)))
    assert archived.rows == 99
    restored = upgrade(project, "b2")
    assert checksums(project.engines["dev"], "t") == before
    assert restored.rows == 99
    assert all(part.is_whole for part in restored.parts)


def test_a_table_that_a_revision_made_comes_back(project: AlembicProject) -> None:
    up = [
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)",
        "INSERT INTO t (v) VALUES ('seed'), ('another')",
    ]
    project.revision("a1", None, up, ["DROP TABLE t"])
    upgrade(project, "a1")
    project.execute(
        "dev",
        "UPDATE t SET v = 'seed, but edited' WHERE id = 1",
        "INSERT INTO t (v) SELECT 'row' FROM generate_series(1, 50)",
        "CREATE INDEX by_hand ON t (v)",
        "COMMENT ON TABLE t IS 'ours'",
        "GRANT SELECT ON t TO PUBLIC",
    )
    look = (
        "SELECT obj_description('t'::regclass), relacl::text, (SELECT max(indexdef) "
        "FROM pg_indexes WHERE indexname = 'by_hand') FROM pg_class WHERE relname = 't'"
    )
    before = checksums(project.engines["dev"], "t"), project.rows("dev", look)
    roll_back(project, "a1", Effect(dropped_tables=(("public", "t"),)))
    assert project.heads("dev") == []
    upgrade(project, "a1")
    assert (checksums(project.engines["dev"], "t"), project.rows("dev", look)) == before
    project.execute("dev", "INSERT INTO t (v) VALUES ('next')")
    assert project.rows("dev", "SELECT max(id) FROM t") == [(53,)]


def test_a_removed_enum_value_is_counted_mapped_and_comes_back(project: AlembicProject) -> None:
    start = "CREATE TABLE t (id int PRIMARY KEY, s state)"
    project.revision("a1", None, ["CREATE TYPE state AS ENUM ('open')", start])
    back = [
        "ALTER TYPE state RENAME TO old_state",
        "CREATE TYPE state AS ENUM ('open')",
        "ALTER TABLE t ALTER s TYPE state USING s::text::state",
        "DROP TYPE old_state",
    ]
    project.revision("b2", "a1", ["ALTER TYPE state ADD VALUE 'lost'"], back)
    upgrade(project, "a1")
    upgrade(project, "b2")
    project.execute("dev", "INSERT INTO t VALUES (1, 'open'), (2, 'lost'), (3, 'lost')")
    engine = project.engines["dev"]
    before: Any = checksums(engine, "t")
    with engine.connect() as connection:
        assert _used(connection) == [("t", "s", 2)]
    roll_back(project, "b2", Effect(removed_enum_values=(LOST,)), lost="open")
    assert project.rows("dev", "SELECT DISTINCT s::text FROM t") == [("open",)]
    restored = upgrade(project, "b2")
    assert restored.is_pending  # Postgres wants the new value committed first
    with engine.begin() as connection:
        assert not restore_pending(connection, restored).is_pending
    assert checksums(engine, "t") == before
    with in_a_run():
        moves.downgrade(
            "dev", "b2", Effect(removed_enum_values=(LOST,)), mapped_values={LOST: "open"}
        )
        moved = moves.upgrade("dev", "b2")
    assert checksums(engine, "t") == before
    assert moved.restored is not None
    assert [part.rows for part in moved.restored.parts] == [2]
    with in_a_run():
        moves.downgrade(
            "dev", "b2", Effect(removed_enum_values=(LOST,)), mapped_values={LOST: "open"}
        )
    assert upgrade(project, "b2").is_pending  # and there the client dies
    with in_a_run():
        moved = moves.upgrade("dev", "b2")
        assert moves.find_upgrade("dev", "b2") is None  # another run's
    assert (moved.outcome, moved.restored is not None) == ("already", True)
    assert checksums(engine, "t") == before


def _used(connection: Connection) -> list[tuple[str, str, int]]:
    return [(use.table, use.column, use.rows) for use in enum_usage(connection, [LOST])]
