"""Values of columns: dropped, narrowed, changed or removed; and what happened in between."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from tasks.errors import InputError
from tasks.migrations.archive import (
    Effect,
    Restored,
    RestoredPart,
    archive,
    enum_usage,
    finish,
    map_enum_values,
    prepare,
    restore,
)
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

DROPPED = Effect(dropped_columns=(("public", "t", "v"), ("public", "t", "n")))


def only(restored: Restored) -> RestoredPart:
    (part,) = [each for each in restored.parts if each.kind != "sequence"]
    return part


def items(engine: Engine, table: str = "t") -> list[tuple[Any, ...]]:
    return rows(engine, f"SELECT * FROM {table} ORDER BY id")


@pytest.mark.parametrize("key", ["int PRIMARY KEY", "int NOT NULL UNIQUE", "int"])
def test_a_dropped_column_comes_back_and_what_changed_in_between_is_told(
    bootstrapped_database: Engine, key: str
) -> None:
    engine = bootstrapped_database
    add = "ALTER TABLE t ADD v text DEFAULT 'new', ADD n serial NOT NULL UNIQUE"
    execute(
        engine,
        f"CREATE TABLE t (id {key}, kept text)",
        add,
        "INSERT INTO t SELECT n, 'k', CASE WHEN n < 9 THEN 'v' || n END, 30 - n "
        "FROM generate_series(1, 20) AS n",
        "SELECT setval('t_n_seq', 77)",
    )
    archived = roll_back(engine, DROPPED, "ALTER TABLE t DROP v, DROP n")
    assert [(part.kind, part.columns, part.rows) for part in archived.parts] == [
        ("column", ("v", "n"), 20),
        ("sequence", (), 1),
    ]
    execute(engine, "DELETE FROM t WHERE id IN (3, 4)", "INSERT INTO t VALUES (99, 'later')")
    part = only(apply_again(engine, add))
    restored = {row[0]: row[2:] for row in items(engine)}
    assert restored[1] == ("v1", 29)
    assert restored[20] == (None, 10)
    assert restored[99][0] == "new"
    assert 3 not in restored
    assert (part.added.count, part.deleted.count, part.conflicts.count) == (1, 2, 0)
    if key != "int":
        assert (part.added.first_keys, part.deleted.first_keys) == (("99",), ("3", "4"))
    assert restored[99][1] == 78  # its number had been given to an archived row before
    assert rows(
        engine, "SELECT restored ->> 'left' FROM headway.archive WHERE kind = 'column'"
    ) == [("2",)]


NARROWED = [
    ("varchar(50)", "varchar(3)", ["'abcdef'", "'ab'", "NULL", "'xyz9'"]),
    ("numeric(12, 4)", "numeric(12, 1)", ["1.2345", "2.5", "NULL", "9.99"]),
    ("timestamptz", "date", ["'2026-01-01 12:34:56'", "'2026-01-02'", "NULL", "now()"]),
    ("double precision", "real", ["0.1", "0.5", "NULL", "1e10 / 3"]),
    ("jsonb", "text", ["'{\"a\": 1}'", "'[]'", "NULL", "'null'"]),
    ("bigint", "integer", ["1", "2", "NULL", "3"]),
]
TABLES = [f"t{number}" for number in range(len(NARROWED))]


def test_a_narrowed_value_comes_back_where_it_is_still_the_narrowed_one(
    bootstrapped_database: Engine,
) -> None:
    engine = bootstrapped_database
    narrow, widen = [], []
    for table, (wide, new, values) in zip(TABLES, NARROWED, strict=True):
        narrow.append(f"ALTER TABLE {table} ALTER v TYPE {new} USING v::{new}")
        widen.append(f"ALTER TABLE {table} ALTER v TYPE {wide} USING v::{wide}")
        execute(engine, f"CREATE TABLE {table} (id int PRIMARY KEY, v {wide})")
        listed = ", ".join(f"({number}, {value})" for number, value in enumerate(values))
        execute(engine, f"INSERT INTO {table} VALUES {listed}")
    before = {table: items(engine, table) for table in TABLES}
    effect = Effect(narrowed_columns=tuple(("public", table, "v") for table in TABLES))
    archived = roll_back(engine, effect, *narrow)
    kept = {part.table: part.rows for part in archived.parts}
    assert kept == dict.fromkeys(TABLES[:4], 2)  # 2.5 and midnight, say, fit as they are
    apply_again(engine, *widen)
    assert {table: items(engine, table) for table in TABLES} == before
    roll_back(engine, effect, *narrow)
    execute(engine, *(f"UPDATE {table} SET v = NULL WHERE id = 0" for table in TABLES))
    restored = apply_again(engine, *widen)
    for table in TABLES:
        assert items(engine, table) == [(0, None), *before[table][1:]]
    assert {part.table: part.changed.first_keys for part in restored.parts} == dict.fromkeys(
        TABLES[:4], ("0",)
    )


def test_rows_that_a_downgrade_changes_or_deletes_come_back(bootstrapped_database: Engine) -> None:
    engine = bootstrapped_database
    execute(
        engine,
        "CREATE TABLE t (id int PRIMARY KEY, state text, other int)",
        "INSERT INTO t SELECT n, CASE WHEN n % 2 = 0 THEN 'open' ELSE 'shut' END, n "
        "FROM generate_series(1, 100) AS n",
    )
    before = items(engine)
    effect = Effect(dml_tables=(("public", "t"),))
    change = "UPDATE t SET state = 'closed' WHERE state = 'shut' AND id < 10"
    archived = roll_back(engine, effect, change, "DELETE FROM t WHERE id > 90")
    assert archived.rows == 15
    execute(
        engine, "UPDATE t SET state = 'mine' WHERE id = 3", "UPDATE t SET other = 0 WHERE id = 5"
    )
    part = only(apply_again(engine))
    expected = {row[0]: row for row in before} | {3: (3, "mine", 3), 5: (5, "shut", 0)}
    assert items(engine) == [expected[number] for number in sorted(expected)]
    assert (part.rows, part.changed.first_keys) == (14, ("3", "5"))


def test_a_truncated_table_comes_back(bootstrapped_database: Engine) -> None:
    engine = bootstrapped_database
    execute(engine, "CREATE TABLE t (id int, v text)")
    execute(engine, "INSERT INTO t SELECT n / 2, 'same' FROM generate_series(1, 50) AS n")
    before = checksums(engine, "t")
    roll_back(engine, Effect(dml_tables=(("public", "t"),)), "TRUNCATE t")
    apply_again(engine)
    assert checksums(engine, "t") == before


def test_a_downgrade_that_changes_no_row_leaves_no_archive(bootstrapped_database: Engine) -> None:
    engine = bootstrapped_database
    execute(engine, "CREATE TABLE t (id int)", "INSERT INTO t VALUES (1), (1)")
    effect = Effect(dml_tables=(("public", "t"),))
    assert roll_back(engine, effect, "UPDATE t SET id = 5 WHERE id = 9").parts == ()
    assert rows(engine, "SELECT count(*) FROM headway.archive") == [(0,)]
    assert rows(
        engine, "SELECT count(*) FROM pg_class WHERE relnamespace = 'headway_archive'::regnamespace"
    ) == [(0,)]


def test_a_removed_enum_value_is_mapped_and_comes_back(bootstrapped_database: Engine) -> None:
    engine = bootstrapped_database
    execute(
        engine,
        "CREATE TYPE state AS ENUM ('open', 'shut', 'lost')",
        "CREATE DOMAIN final AS state",
        "CREATE TABLE t (id int PRIMARY KEY, s state DEFAULT 'open', all_s state[], f final)",
        "CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN RAISE EXCEPTION ''no''; END'",
        "INSERT INTO t SELECT n, (ARRAY['open', 'shut', 'lost']::state[])[n % 3 + 1], "
        "ARRAY['lost', NULL, 'open']::state[], 'shut' FROM generate_series(1, 9) AS n",
        "CREATE TRIGGER forbid BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION forbid()",
    )
    before = items(engine)
    removed = ("public", "state", "lost")
    with engine.connect() as connection:
        used = {(use.column, use.rows) for use in enum_usage(connection, [removed])}
        assert used == {("s", 3), ("all_s", 9)}
        with pytest.raises(InputError, match="goes as well"):
            map_enum_values(connection, {removed: "lost"})
    downgrade = (
        "ALTER TYPE state RENAME TO state_old",
        "CREATE TYPE state AS ENUM ('open', 'shut')",
        (
            "ALTER TABLE t ALTER s DROP DEFAULT, ALTER f TYPE text, "
            "ALTER s TYPE state USING s::text::state, ALTER all_s TYPE state[] USING "
            "all_s::text[]::state[]"
        ),
        "DROP DOMAIN final",
        "DROP TYPE state_old",
        "ALTER TABLE t ALTER s SET DEFAULT 'open'",
    )
    with engine.begin() as connection:
        effect = Effect(removed_enum_values=(removed,))
        archived = archive(connection, ENVIRONMENT, REVISION, effect, None)
        assert map_enum_values(connection, {removed: "open"}) == 12
        run(connection, downgrade)
        archived = finish(connection, archived)
    assert {(part.columns, part.rows) for part in archived.parts} == {(("s",), 3), (("all_s",), 9)}
    execute(engine, "ALTER TABLE t DISABLE TRIGGER forbid", "UPDATE t SET s = 'shut' WHERE id = 2")
    pending = apply_again(
        engine,
        "ALTER TYPE state ADD VALUE 'lost'",
        "CREATE DOMAIN final AS state",
        "ALTER TABLE t ALTER f TYPE final USING f::state::final",
    )
    assert pending.is_pending
    restored = apply_again(engine)
    assert not restored.is_pending
    assert [row for row in items(engine) if row[0] != 2] == [row for row in before if row[0] != 2]
    assert rows(engine, "SELECT s::text, all_s::text FROM t WHERE id = 2") == [
        ("shut", "{lost,NULL,open}")
    ]
    assert sum(part.changed.count for part in restored.parts) == 1


def test_a_downgrade_that_commits_is_archived_before_it(bootstrapped_database: Engine) -> None:
    engine = bootstrapped_database
    execute(
        engine,
        "CREATE TABLE t (id int PRIMARY KEY, v text, w varchar(9), n serial)",
        "INSERT INTO t SELECT n, 'v' || n, 'long' || n FROM generate_series(1, 9) AS n",
    )
    before = checksums(engine, "t")
    effect = Effect(
        dropped_columns=(("public", "t", "v"),),
        narrowed_columns=(("public", "t", "w"),),
        dml_tables=(("public", "t"),),
    )
    down = (
        "ALTER TABLE t DROP v, ALTER w TYPE varchar(2) USING w::varchar(2)",
        "DELETE FROM t WHERE id = 4",
        "SELECT setval('t_n_seq', 1)",
    )
    up = "ALTER TABLE t ADD v text, ALTER w TYPE varchar(9)"
    for is_finished in (True, False):  # the run goes on after its DDL, or it dies there
        with engine.begin() as connection:
            archived = archive(connection, ENVIRONMENT, REVISION, effect, None)
            finish(connection, archived, before_ddl=True)
        execute(engine, *down)
        if is_finished:
            with engine.begin() as connection:
                archived = finish(connection, archived)
                assert finish(connection, archived) == archived
            restored = apply_again(engine, up)
            assert checksums(engine, "t") == before
            assert rows(engine, "SELECT last_value FROM t_n_seq") == [(9,)]
            assert all(part.is_whole for part in restored.parts)
    restored = apply_again(engine, up)
    found = {part.kind: part for part in restored.parts}
    assert found["column"].deleted.first_keys == ("4",)
    assert found["narrowed"].changed.count == 8  # nobody knows who changed them: they stay
    assert found["rows"].conflicts.count == 0
    assert rows(engine, "SELECT v, w FROM t WHERE id = 3") == [("v3", "lo")]


def test_what_the_upgrade_itself_changes_again_is_no_change_of_others(
    bootstrapped_database: Engine,
) -> None:
    engine = bootstrapped_database
    execute(
        engine,
        "CREATE TABLE t (id int PRIMARY KEY, s text, w double precision)",
        "INSERT INTO t SELECT n, (ARRAY['a', 'b', 'c'])[n % 3 + 1], n + 0.1 "
        "FROM generate_series(1, 12) AS n",
        "UPDATE t SET s = 'edited' WHERE id = 12",
    )
    before = items(engine)
    effect = Effect(dml_tables=(("public", "t"),), narrowed_columns=(("public", "t", "w"),))
    merge = "UPDATE t SET s = 'ab' WHERE s IN ('a', 'b')"
    roll_back(
        engine, effect, merge, "DELETE FROM t WHERE id > 10", "ALTER TABLE t ALTER w TYPE int"
    )
    execute(
        engine,
        "UPDATE t SET s = 'ab' WHERE id = 2",
        "UPDATE t SET s = 'mine', w = 99 WHERE id = 3",
        "INSERT INTO t VALUES (11, 'somebody', 5)",
    )
    with engine.begin() as connection:
        prepare(connection, ENVIRONMENT, REVISION)
        again = (
            "ALTER TABLE t ALTER w TYPE double precision",
            "UPDATE t SET s = 'a' WHERE s = 'ab'",
            "INSERT INTO t VALUES (12, 'seed', 0)",
        )
        run(connection, again)
        restored = restore(connection, ENVIRONMENT, REVISION)
    expected = {row[0]: row for row in before}
    expected |= {2: (2, "a", 2.1), 3: (3, "mine", 99.0), 11: (11, "somebody", 5.0)}
    assert items(engine) == [expected[number] for number in sorted(expected)]
    found = {part.kind: part for part in restored.parts}
    assert found["rows"].changed.first_keys == ("2", "3", "11")
    assert found["narrowed"].changed.first_keys == ("3", "11")
