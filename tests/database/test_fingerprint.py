"""The fingerprint sees every kind of drift by name, and nothing that is none."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, Engine, text
from sqlalchemy.pool import NullPool

from tasks.migrations.fingerprint import Difference, Fingerprint, compare, take
from tests.database import older_postgres

CASES = json.loads(Path(__file__).with_name("drift_cases.json").read_text("utf-8"))
DRIFTS = {case["name"]: case["sql"] for case in CASES["drifts"]}
WITHOUT_EXTENSION = CASES["base"].replace("create extension if not exists btree_gist;", "")
DEPARSED = Path(__file__).with_name("deparsed.sql").read_text("utf-8")
EVERY_KIND = Path(__file__).with_name("every_kind.sql").read_text("utf-8")
ADDED, REMOVED = "added", "removed"

# What must be named: the object, and the attribute or whether it came or went.
EXPECTED: dict[str, list[tuple[str, str]]] = {
    "add table": [("table public.extra", ADDED)],
    "drop table": [("table public.pt1", REMOVED)],
    "add column": [("column public.parent.z", ADDED)],
    "drop column": [("column public.parent.price", REMOVED)],
    "rename column": [
        ("column public.parent.note", REMOVED),
        ("column public.parent.notes", ADDED),
        ("index public.ix_note", "keys"),
    ],
    "type int->bigint": [
        ("column public.parent.g", REMOVED),
        ("column public.parent.qty", "type"),
        ("materialized view public.mv", REMOVED),
    ],
    "varchar length change": [("column public.parent.name", "type")],
    "numeric precision change": [("column public.parent.price", "type")],
    "drop not null": [("column public.parent.qty", "not_null")],
    "default changed": [("column public.parent.qty", "default")],
    "default dropped": [("column public.parent.ts", "default")],
    "drop index": [("index public.ix_note", REMOVED)],
    "add index": [("index public.zz", ADDED)],
    "partial predicate changed": [("index public.ix_part", "predicate")],
    "index expr changed": [("index public.ix_expr", "keys")],
    "index INVALID": [("index public.ix_note", "valid")],
    "index method changed": [("index public.ix_note", "method")],
    "unique dropped": [("constraint public.parent.uq_name", REMOVED)],
    "unique -> NULLS NOT DISTINCT": [("constraint public.parent.uq_name", "nulls_not_distinct")],
    "FK dropped": [("constraint public.child foreign key (pid)", REMOVED)],
    "FK on delete changed": [("constraint public.child foreign key (pid)", "on_delete")],
    "FK made NOT VALID": [("constraint public.child foreign key (pid)", "validated")],
    "CHECK dropped": [("constraint public.parent.qty_pos", REMOVED)],
    "CHECK body changed same name": [("constraint public.parent.qty_pos", "expression")],
    "exclusion dropped": [("constraint public.child.ex", REMOVED)],
    "enum value added": [("enum public.mood", "labels")],
    "enum values reordered": [("enum public.mood", "labels")],
    "domain check changed": [("domain public.posint", "checks")],
    "view body changed": [("view public.v", "definition")],
    "view dropped": [("view public.v", REMOVED)],
    "matview dropped": [("materialized view public.mv", REMOVED)],
    "function body changed": [("function public.f(integer)", "body")],
    "trigger dropped": [("trigger public.parent.t1", REMOVED)],
    "trigger disabled": [("trigger public.parent.t1", "enabled")],
    "sequence dropped": [("sequence public.free_seq", REMOVED)],
    "sequence increment": [("sequence public.free_seq", "increment")],
    "identity ALWAYS": [("column public.parent.id", "identity")],
    "generated expr changed": [("column public.parent.g", "generated")],
    "collation changed": [("column public.parent.name", "collation")],
    "comment changed": [("column public.parent.note", "comment")],
    "grant revoked": [("table public.parent", "grants")],
    "RLS enabled": [("table public.parent", "row_security")],
    "partition detached": [("table public.pt1", "partition")],
    "table UNLOGGED": [("table public.child", "persistence")],
    "owner changed": [("table public.child", "owner")],
    "column storage/stat": [("column public.parent.note", "storage")],
    "extension dropped": [("constraint public.child.ex", REMOVED), ("extension {}", REMOVED)],
    "replica identity": [("table public.child", "replica_identity")],
    "column order (drop+add same)": [("table public.parent", "column_order")],
}
INFORMATIONAL = set(CASES["meta"]["informational"])


class World:
    """A database with the base schema of the cases, and which extension stands for theirs."""

    def __init__(self, engine: Engine, base: str | None = None) -> None:
        self.engine = engine
        with engine.begin() as tx:
            known = "SELECT count(*) FROM pg_available_extensions WHERE name = 'btree_gist'"
            self.extension = "btree_gist" if tx.scalar(text(known)) else "vector"
            tx.exec_driver_sql((base or self.sql(CASES["base"])).replace("%", "%%"))
        self.connection = engine.connect()  # one for all: a new one has cold caches
        self.base = take(self.connection)

    def sql(self, statements: str) -> str:
        return str(statements).replace("btree_gist", self.extension)

    @contextmanager
    def changed(self, statements: str) -> Iterator[Connection]:
        """The database after the statements, until the block ends."""
        with self.connection.begin() as transaction:
            self.connection.exec_driver_sql("SET LOCAL allow_system_table_mods = on")
            self.connection.exec_driver_sql(self.sql(statements))
            yield self.connection
            transaction.rollback()

    def differences(
        self, statements: str, expected: Fingerprint | None = None
    ) -> tuple[Difference, ...]:
        with self.changed(statements) as connection:
            return compare(expected or self.base, take(connection))


def named(differences: tuple[Difference, ...]) -> list[tuple[str, str]]:
    return [(each.object, each.attribute or each.change) for each in differences]


@contextmanager
def database_on(url: str) -> Iterator[Engine]:
    """A fresh database, with the role of the cases."""
    admin = sa.create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    name = f"test_{uuid.uuid4().hex[:16]}"
    with admin.connect() as connection:
        connection.exec_driver_sql(
            "DO $$ BEGIN CREATE ROLE app_ro; "
            "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        )
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine = sa.create_engine(sa.make_url(url).set(database=name), poolclass=NullPool)
    try:
        yield engine
    finally:
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def world(server_url: str) -> Iterator[World]:
    with database_on(server_url) as engine:
        yield World(engine)


@pytest.fixture(scope="module")
def older_url() -> Iterator[str]:
    with older_postgres.running() as url:
        yield url


@pytest.fixture(scope="module")
def older(older_url: str) -> Iterator[World]:
    with database_on(older_url) as engine:
        yield World(engine)


def test_the_table_of_cases_is_complete() -> None:
    assert EXPECTED.keys() == DRIFTS.keys()
    assert len(DRIFTS) == 49
    assert len(INFORMATIONAL) == 1


@pytest.mark.parametrize("name", DRIFTS)
def test_each_drift_is_named_by_object_and_attribute(world: World, name: str) -> None:
    found = world.differences(DRIFTS[name])
    assert named(found) == [(key.format(world.extension), what) for key, what in EXPECTED[name]]
    assert all(each.is_information == (name in INFORMATIONAL) for each in found)
    assert all(each.object in each.text for each in found)


def test_each_drift_is_named_on_postgres_15_too(older: World) -> None:
    for name, statements in DRIFTS.items():
        found = named(older.differences(statements))
        assert found == [(key.format(older.extension), what) for key, what in EXPECTED[name]], name


@pytest.mark.parametrize(
    "statements",
    [
        "SELECT 1",
        "INSERT INTO parent (name) SELECT i::text FROM generate_series(1, 50) AS i; ANALYZE",
        "SELECT nextval('free_seq'), setval('child_id_seq', 99)",
        "ALTER TABLE child RENAME CONSTRAINT child_pid_fkey TO child_pid_fkey1",
        "ALTER TABLE parent RENAME CONSTRAINT parent_pkey TO parent_pkey2",
        "ALTER SEQUENCE child_id_seq RENAME TO child_id_seq1",
        "ALTER DOMAIN posint RENAME CONSTRAINT posint_check TO posint_check1",
        "REVOKE ALL ON child FROM PUBLIC; GRANT ALL ON child TO CURRENT_USER",
        "REFRESH MATERIALIZED VIEW mv",
        "SET LOCAL search_path = pg_catalog; SET LOCAL DateStyle = 'German'",
        "SET LOCAL ROLE app_ro; SET TRANSACTION READ ONLY",
    ],
)
def test_what_is_no_drift_is_not_reported(world: World, statements: str) -> None:
    with world.changed(statements) as connection:
        found = take(connection)
    assert compare(world.base, found) == ()
    assert found.hash == world.base.hash


def test_the_planners_statistics_target_and_column_order_are_information(world: World) -> None:
    found = world.differences(
        "ALTER TABLE parent ALTER qty SET STATISTICS 500; "
        "ALTER TABLE parent DROP COLUMN ts; ALTER TABLE parent ADD ts timestamptz DEFAULT now()"
    )
    assert named(found) == [
        ("column public.parent.qty", "statistics"),
        ("table public.parent", "column_order"),
    ]
    assert all(each.is_information for each in found)


def test_names_that_postgres_chose_do_not_count(server_url: str) -> None:
    one = """CREATE TABLE a (
                 id serial PRIMARY KEY, x int REFERENCES a, y int UNIQUE CHECK (y > 0));
             CREATE INDEX ON a (x); CREATE INDEX ON a (x DESC);
             CREATE INDEX ON a (lower(x::text))"""
    other = """CREATE SEQUENCE a_id_seq7 AS integer;
             CREATE TABLE a (id int NOT NULL DEFAULT nextval('a_id_seq7'), x int, y int);
             ALTER SEQUENCE a_id_seq7 OWNED BY a.id;
             CREATE INDEX a_x_idx ON a (x DESC); CREATE INDEX a_x_idx1 ON a (x);
             CREATE INDEX ON a (lower(x::text));
             ALTER TABLE a ADD CONSTRAINT a_pkey3 PRIMARY KEY (id);
             ALTER TABLE a ADD CONSTRAINT a_x_fkey2 FOREIGN KEY (x) REFERENCES a,
                 ADD CONSTRAINT a_y_key9 UNIQUE (y), ADD CONSTRAINT a_y_check4 CHECK (y > 0)"""
    with database_on(server_url) as first, database_on(server_url) as second:
        assert compare(World(first, one).base, World(second, other).base) == ()


def test_names_that_postgres_had_to_shorten_do_not_count_either(world: World) -> None:
    table, column = "ä" * 25, "b" * 40
    statements = f"CREATE TABLE {table} ({column} int UNIQUE); CREATE INDEX ON {table} ({column})"
    with world.changed(statements) as connection:
        assert {
            f'constraint public."{table}" unique ({column})',
            f'index public."{table}" ({column})',
        } <= take(connection).objects.keys()


def test_the_order_in_which_objects_were_made_does_not_count(world: World, server_url: str) -> None:
    statements = [part for part in world.sql(CASES["base"]).split(";\n") if part.strip()]
    moved = [*statements[:5], *statements[9:11], *statements[5:9], *statements[11:]]
    assert sorted(moved) == sorted(statements)
    with database_on(server_url) as engine:
        other = World(engine, ";\n".join(moved))
    assert compare(world.base, other.base) == ()
    assert other.base.hash == world.base.hash


@pytest.fixture(scope="module")
def majors(server_url: str, older_url: str) -> Iterator[tuple[World, World]]:
    """The same schema on 15 and on the newest, with more for the deparsers to disagree on."""
    base = WITHOUT_EXTENSION + MORE + EVERY_KIND + DEPARSED
    with database_on(older_url) as old, database_on(server_url) as new:
        yield World(old, base), World(new, base)


MORE = """
CREATE VIEW many AS
    SELECT p.id, count(c.id) AS n, (SELECT max(x.qty) FROM parent x WHERE x.id = p.id) AS most
    FROM parent p LEFT JOIN child c ON c.pid = p.id WHERE p.ts > now() - interval '1 day'
    GROUP BY p.id;
CREATE VIEW nested AS SELECT id FROM (SELECT id, row_number() OVER (ORDER BY qty) AS place
    FROM parent WHERE qty IN (1, 2) OR note ~~ 'a_') AS ranked WHERE place < 3 LIMIT 5;
CREATE VIEW one_of AS SELECT id, CASE WHEN qty > 0 THEN upper(name) ELSE note END AS label
    FROM parent WHERE EXISTS (SELECT FROM child WHERE child.pid = parent.id);
CREATE FUNCTION of_sql(n int) RETURNS bigint LANGUAGE sql STABLE
    BEGIN ATOMIC SELECT count(*) FROM parent WHERE qty > n; END;
CREATE POLICY mine ON child FOR SELECT TO app_ro USING (pid = 1 AND j IS NOT NULL);
CREATE RULE quiet AS ON DELETE TO child DO INSTEAD NOTHING;
CREATE TABLE keyed (a int, b text, CONSTRAINT pk_keyed PRIMARY KEY (a, b)) PARTITION BY LIST (b);
CREATE TABLE keyed_x PARTITION OF keyed FOR VALUES IN ('x');
CREATE INDEX ON keyed (b);
CREATE STATISTICS both_kinds (ndistinct) ON qty, price FROM parent;
GRANT ALL ON keyed TO app_ro;
"""


def test_two_majors_print_the_same_schema_differently_and_it_is_no_drift(
    majors: tuple[World, World],
) -> None:
    old, new = majors
    assert (old.base.server_major, new.base.server_major) == (15, 18)
    assert compare(old.base, new.base) == ()
    assert compare(new.base, old.base) == ()


@pytest.mark.parametrize(
    "name",
    [
        "default changed",
        "partial predicate changed",
        "index expr changed",
        "CHECK body changed same name",
        "domain check changed",
        "view body changed",
        "function body changed",
        "generated expr changed",
        "grant revoked",
        "partition detached",
        "owner changed",
    ],
)
def test_a_drift_is_named_against_the_fingerprint_of_another_major(
    majors: tuple[World, World], name: str
) -> None:
    old, new = majors
    assert named(new.differences(DRIFTS[name], expected=old.base)) == EXPECTED[name]


def test_what_belongs_to_others_is_left_out(world: World) -> None:
    others = "CREATE SCHEMA theirs; CREATE TABLE theirs.t (i int); CREATE TABLE legacy_x (i int)"
    with world.changed(others) as connection:
        assert compare(world.base, take(connection, schemas=["public"], ignore=["legacy_*"])) == ()
        found = compare(world.base, take(connection, ignore=["public.legacy_*"]))
    assert named(found) == [("schema theirs", ADDED), ("table theirs.t", ADDED)]


def test_headways_own_schema_and_the_version_table_are_left_out(
    bootstrapped_database: Engine,
) -> None:
    with bootstrapped_database.begin() as tx:
        tx.execute(text("CREATE TABLE alembic_version (version_num text PRIMARY KEY)"))
        tx.execute(text("CREATE TABLE kept (i int)"))
        tables = [key for key in take(tx).objects if key.startswith(("table", "column"))]
        assert tables == ["table public.kept", "column public.kept.i"]
        renamed = take(tx, version_table=("public", "kept"))
    assert "table public.alembic_version" in renamed.objects
    assert "table public.kept" not in renamed.objects


def test_taking_a_fingerprint_leaves_the_session_as_it_was(world: World) -> None:
    names = ("search_path", "TimeZone", "lock_timeout", "DateStyle")

    def settings(connection: Connection) -> list[Any]:
        return [connection.exec_driver_sql(f"SHOW {name}").scalar() for name in names]

    with world.engine.connect() as connection:
        connection.exec_driver_sql("SET search_path = public, pg_temp")
        connection.exec_driver_sql("SET TimeZone = 'Asia/Tokyo'")
        connection.commit()
        before = settings(connection)
        connection.rollback()
        take(connection)
        assert not connection.in_transaction()
        assert settings(connection) == before
        take(connection)
        assert settings(connection) == before
        connection.rollback()
        by_itself = connection.execution_options(isolation_level="AUTOCOMMIT")
        assert take(by_itself).hash == world.base.hash
        assert settings(by_itself) == before
