"""The bulk is copied while everybody works on; the downgrade's transaction copies what changed."""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from tasks.migrations.archive import (
    Effect,
    archive,
    archive_everything,
    copy_bulk,
    finish,
    purge,
)
from tests.database import older_postgres
from tests.database.archives import (
    ENVIRONMENT,
    REVISION,
    apply_again,
    checksums,
    execute,
    roll_back,
    rows,
    run,
)

MAKE = "CREATE TABLE t (id int PRIMARY KEY, v text)"
FILL = "INSERT INTO t SELECT n, 'v' || n FROM generate_series(1, 500) AS n"
DROPPED = Effect(dropped_tables=(("public", "t"),))
ARCHIVES = (
    "SELECT relname FROM pg_class WHERE relnamespace = 'headway_archive'::regnamespace "
    "AND relkind = 'r' ORDER BY 1"
)


def test_a_bulk_copy_blocks_no_writer_and_misses_no_write(bootstrapped_database: Engine) -> None:
    engine = bootstrapped_database
    execute(engine, MAKE, FILL)
    writing = engine.connect()
    writing.execute(text("UPDATE t SET v = 'long before' WHERE id = 1"))
    nested = writing.begin_nested()  # its rows carry a number of their own, later than the copy's
    writing.execute(text("UPDATE t SET v = 'in a savepoint' WHERE id = 2"))
    nested.commit()
    before = {}

    def write() -> None:
        writing.execute(text("SET lock_timeout = '1s'"))
        writing.execute(text("INSERT INTO t VALUES (1000, 'during')"))
        writing.commit()
        execute(
            engine,
            "DELETE FROM t WHERE id IN (5, 6)",
            "UPDATE t SET v = 'after' WHERE id BETWEEN 10 AND 20",
            "UPDATE t SET id = -id WHERE id = 30",
        )
        before.update(checksums(engine, "t"))

    archived = roll_back(engine, DROPPED, "DROP TABLE t", between=write)
    writing.close()
    assert archived.rows == before["rows"] == 499
    apply_again(engine, MAKE)
    assert checksums(engine, "t") == before


def test_the_copy_holds_no_lock_that_a_writer_waits_for(bootstrapped_database: Engine) -> None:
    engine = bootstrapped_database
    execute(
        engine,
        MAKE,
        FILL,
        "CREATE TABLE later (id int PRIMARY KEY)",
        "INSERT INTO later VALUES (1)",
    )
    blocked = engine.connect()
    blocked.execute(text("LOCK TABLE later IN ACCESS EXCLUSIVE MODE"))  # the copy stops here
    effect = Effect(dropped_tables=(("public", "later"), ("public", "t")))
    copying = threading.Thread(
        target=copy_bulk, args=(engine, ENVIRONMENT, REVISION, effect, str(uuid.uuid4()))
    )
    copying.start()
    try:
        execute(engine, "SET LOCAL lock_timeout = '1s'", "UPDATE t SET v = 'x'", "DELETE FROM t")
    finally:
        blocked.rollback()
        blocked.close()
        copying.join()


def test_a_run_that_died_leaves_nothing_behind(bootstrapped_database: Engine) -> None:
    engine = bootstrapped_database
    execute(engine, MAKE, FILL)
    dead, alive = str(uuid.uuid4()), str(uuid.uuid4())
    copy_bulk(engine, ENVIRONMENT, REVISION, DROPPED, dead)
    copy_bulk(engine, ENVIRONMENT, REVISION, DROPPED, alive)
    once = rows(engine, ARCHIVES)
    assert len(once) == 1
    assert copy_bulk(engine, ENVIRONMENT, REVISION, DROPPED, alive) == ()  # it goes on where it was
    with engine.connect() as connection:  # the downgrade fails
        archive(connection, ENVIRONMENT, REVISION, DROPPED, alive)
        run(connection, ["DROP TABLE t"])
        connection.rollback()
    assert rows(engine, ARCHIVES) == once
    assert rows(engine, "SELECT is_complete FROM headway.archive") == [(False,)]
    execute(engine, "ALTER TABLE t ADD w int DEFAULT 7")  # the copy does not fit any more
    with engine.begin() as connection:
        archived = archive(connection, ENVIRONMENT, REVISION, DROPPED, alive)
        run(connection, ["DROP TABLE t"])
        archived = finish(connection, archived)
    assert rows(engine, ARCHIVES) != once
    (part,) = archived.parts
    assert rows(engine, f'SELECT min(w) FROM headway_archive."{part.archived_in}"') == [(7,)]
    apply_again(engine, MAKE)
    assert rows(engine, "SELECT count(*) FROM t") == [(500,)]


def test_a_second_rollback_archives_anew(bootstrapped_database: Engine) -> None:
    engine = bootstrapped_database
    execute(engine, MAKE, FILL)
    roll_back(engine, DROPPED, "DROP TABLE t")
    apply_again(engine, MAKE)
    execute(engine, "DELETE FROM t WHERE id > 3", "UPDATE t SET v = 'second'")
    roll_back(engine, DROPPED, "DROP TABLE t")
    roll_back(engine, DROPPED)  # and once more, with nothing there
    apply_again(engine, MAKE)
    assert rows(engine, "SELECT * FROM t ORDER BY 1") == [(n, "second") for n in (1, 2, 3)]
    assert apply_again(engine).parts == ()


def test_what_came_back_can_be_purged_and_nothing_else(bootstrapped_database: Engine) -> None:
    engine = bootstrapped_database
    execute(
        engine, MAKE, FILL, "CREATE TABLE u (id int PRIMARY KEY, c int)", "INSERT INTO u VALUES (1)"
    )
    effect = Effect(dropped_tables=(("public", "t"),), dropped_columns=(("public", "u", "c"),))
    roll_back(engine, effect, "DROP TABLE t", "ALTER TABLE u DROP c")
    execute(engine, "DELETE FROM u")
    apply_again(engine, MAKE, "ALTER TABLE u ADD c int")
    with engine.begin() as connection:
        assert purge(connection, timedelta(days=1)) == ()
        (purged,) = purge(connection, timedelta(0))
        assert purge(connection, timedelta(0)) == ()
    assert "_t_table_" in purged
    assert [name.rpartition("_")[0] for (name,) in rows(engine, ARCHIVES)] == ["r1_public_u_column"]


def test_everything_is_copied_before_a_reset(bootstrapped_database: Engine) -> None:
    engine = bootstrapped_database
    execute(
        engine,
        MAKE,
        FILL,
        'CREATE SCHEMA "Other"',
        'CREATE TABLE "Other".x AS SELECT 1 AS a',
        "CREATE TABLE nothing (id int)",
        "CREATE TABLE legacy_a AS SELECT 1 AS a",
        "CREATE TABLE alembic_version AS SELECT 'x' AS version_num",
    )
    archived = archive_everything(engine, ENVIRONMENT, None, ignore=("legacy_*",))
    assert [(part.table, part.rows) for part in archived.parts] == [("x", 1), ("t", 500)]
    assert rows(engine, "SELECT count(*) FROM headway.archive WHERE is_complete") == [(2,)]


def test_partitions_of_a_job_come_back_with_their_rows(bootstrapped_database: Engine) -> None:
    engine = bootstrapped_database
    make = (
        "CREATE TABLE p (at date NOT NULL, id int GENERATED BY DEFAULT AS IDENTITY, v text) "
        "PARTITION BY RANGE (at)"
        if engine.dialect.server_version_info and engine.dialect.server_version_info >= (17,)
        else "CREATE TABLE p (at date NOT NULL, id int, v text) PARTITION BY RANGE (at)",
    )
    execute(
        engine,
        *make,
        "CREATE TABLE p_other PARTITION OF p DEFAULT",
        "CREATE TABLE p_25 PARTITION OF p FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') "
        "PARTITION BY LIST (v)",
        "CREATE TABLE p_25_a PARTITION OF p_25 FOR VALUES IN ('a')",
        "CREATE TABLE p_25_rest PARTITION OF p_25 DEFAULT",
        "CREATE INDEX by_v ON p (v)",
        "CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN RAISE EXCEPTION ''no''; END'",
        "INSERT INTO p SELECT DATE '2025-06-01' + n, n, CASE WHEN n % 3 > 0 THEN 'a' ELSE 'b' END "
        "FROM generate_series(1, 400) AS n",
    )
    places = "SELECT tableoid::regclass::text, count(*) FROM p GROUP BY 1 ORDER BY 1"
    before = checksums(engine, "p"), rows(engine, places)
    tables = tuple(("public", name) for name in ("p", "p_other", "p_25", "p_25_a", "p_25_rest"))
    archived = roll_back(
        engine, Effect(dropped_tables=tables), "DROP TABLE p", between=lambda: None
    )
    assert [part.table for part in archived.parts if part.kind == "table"] == ["p"]
    forbid = "CREATE TRIGGER forbid BEFORE INSERT ON p FOR EACH ROW EXECUTE FUNCTION forbid()"
    restored = apply_again(engine, *make, forbid)
    assert [part.problems for part in restored.parts if part.problems] == []
    assert (checksums(engine, "p"), rows(engine, places)) == before
    states = "SELECT tgenabled, count(*) FROM pg_trigger WHERE tgname = 'forbid' GROUP BY 1"
    assert rows(engine, states) == [("O", 5)]
    assert rows(
        engine,
        "SELECT count(*) FROM pg_indexes WHERE tablename LIKE 'p%' AND schemaname = 'public'",
    ) == [(5,)]


def test_what_others_forbid_now_stays_in_the_archive(bootstrapped_database: Engine) -> None:
    engine = bootstrapped_database
    make = (
        "CREATE TABLE own (id int PRIMARY KEY, parent int REFERENCES other, name text, "
        "boss int REFERENCES own)"
    )
    execute(
        engine,
        "CREATE TABLE other (id int PRIMARY KEY)",
        "INSERT INTO other VALUES (1), (2)",
        make,
        "INSERT INTO own SELECT n, n % 2 + 1, 'n' || n, nullif(n - 1, 0) "
        "FROM generate_series(1, 9) AS n",
    )
    roll_back(engine, Effect(dropped_tables=(("public", "own"),)), "DROP TABLE own")
    execute(engine, "DELETE FROM other WHERE id = 1")  # the parent of even rows
    seeds = "INSERT INTO own VALUES (1, NULL, 'seed', NULL), (50, NULL, 'new seed', NULL)"
    (part,) = apply_again(engine, make, seeds).parts
    # Row 1 was made by the revision itself, so it is the archived one. 2 is an orphan now, and
    # 3 has it as its boss, and so on.
    assert rows(engine, "SELECT id, parent, name FROM own ORDER BY id") == [
        (1, 2, "n1"),
        (50, None, "new seed"),
    ]
    assert (part.rows, part.conflicts.count) == (1, 8)
    assert part.conflicts.first_keys == ("2", "3", "4", "5", "6")
    assert part.problems == ("forbidden by own_boss_fkey", "forbidden by own_parent_fkey")


def test_rows_that_a_policy_hides_are_archived_too(bootstrapped_database: Engine) -> None:
    engine = bootstrapped_database
    name = engine.url.database
    owner = f"owner_of_{name}"
    execute(
        engine,
        f"CREATE ROLE {owner} NOLOGIN",
        f"GRANT ALL ON SCHEMA public, headway, headway_archive TO {owner}",
        f"GRANT ALL ON headway.archive TO {owner}",
        f"SET LOCAL ROLE {owner}",
        MAKE,
        FILL,
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "CREATE POLICY few ON t USING (id < 10)",
    )
    try:
        with engine.begin() as connection:
            run(connection, [f"SET LOCAL ROLE {owner}"])
            archived = archive(connection, ENVIRONMENT, REVISION, DROPPED, None)
            run(connection, ["DROP TABLE t"])
            assert finish(connection, archived).rows == 500
        make = (f"SET LOCAL ROLE {owner}", MAKE, "ALTER TABLE t FORCE ROW LEVEL SECURITY")
        apply_again(engine, *make)
        assert rows(engine, "SELECT count(*) FROM t") == [(500,)]
        assert rows(
            engine, "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE relname = 't'"
        ) == [(True, True)]
        execute(engine, "GRANT SELECT ON t TO PUBLIC", f"CREATE ROLE {owner}_2")
        with engine.connect() as connection:  # who is not the owner sees less: an error, no loss
            run(
                connection,
                [
                    f"GRANT ALL ON SCHEMA headway, headway_archive TO {owner}_2",
                    f"GRANT ALL ON headway.archive, t TO {owner}_2",
                    f"SET LOCAL ROLE {owner}_2",
                ],
            )
            with pytest.raises(DBAPIError, match=r"row-level security|must be owner"):
                archive(connection, ENVIRONMENT, REVISION, DROPPED, None)
    finally:
        execute(engine, f"DROP OWNED BY {owner}", f"DROP ROLE {owner}")
        execute(engine, f"DROP ROLE IF EXISTS {owner}_2")


def test_it_works_on_an_older_postgres() -> None:
    from tasks import database
    from tasks.bootstrap import bootstrap

    with older_postgres.running() as url:
        engine = database.create_engine(url)
        with engine.begin() as connection:
            bootstrap(connection)
        try:
            test_a_bulk_copy_blocks_no_writer_and_misses_no_write(engine)
            execute(engine, "DROP TABLE t")
            test_partitions_of_a_job_come_back_with_their_rows(engine)
        finally:
            engine.dispose()
