"""What the role of an environment may not do is found out before anything is applied."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from tasks.migrations.hazards.model import RevisionSql
from tasks.migrations.hazards.scripts import read_script
from tasks.migrations.preflight import granted
from tasks.migrations.preflight.judge import PreflightEvidence, judge_preflight
from tasks.migrations.project import Project
from tests.conftest import created_database

ROLE, OTHER = (f"{name}_{uuid.uuid4().hex[:8]}" for name in ("mover", "owner"))
SETUP = f"""
CREATE ROLE {ROLE} LOGIN; CREATE ROLE {OTHER};
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA mine AUTHORIZATION {ROLE}; CREATE SCHEMA closed AUTHORIZATION {OTHER};
CREATE TABLE closed.secret (id int);
CREATE TABLE theirs (id int PRIMARY KEY, "Odd Name" int); ALTER TABLE theirs OWNER TO {OTHER};
CREATE TYPE mood AS ENUM ('ok'); ALTER TYPE mood OWNER TO {OTHER};
CREATE VIEW seen AS SELECT 1 AS one; ALTER VIEW seen OWNER TO {OTHER};
CREATE TABLE mine.own (id int); ALTER TABLE mine.own OWNER TO {ROLE};
CREATE TABLE mine.guest (id int); ALTER TABLE mine.guest OWNER TO {OTHER};
GRANT SELECT, UPDATE (id) ON theirs TO {ROLE};
CREATE TABLE alembic_version (version_num text);
GRANT SELECT, INSERT, UPDATE, DELETE ON alembic_version TO {ROLE};
"""


@pytest.fixture(scope="module")
def role(server_url: str) -> Iterator[Connection]:
    """A session of a role that owns schema `mine`, and little else."""
    with created_database(server_url, "template1") as engine, engine.connect() as connection:
        connection.execute(text(SETUP))
        connection.commit()
        connection.execute(text(f"SET ROLE {ROLE}"))
        yield connection
        connection.rollback()
        connection.execute(text("RESET ROLE"))
        connection.execute(text(f"DROP OWNED BY {ROLE}, {OTHER} CASCADE"))
        connection.execute(text(f"DROP ROLE {ROLE}, {OTHER}"))
        connection.commit()


def refusals(connection: Connection, sql: str, table: str = "alembic_version") -> dict[str, str]:
    revision = RevisionSql(
        revision="r1", file="r1.py", statements=read_script(sql, in_transaction=True)
    )
    project = Project(Path(), version_table=table)
    missing = granted.missing_rights(connection, project, [revision])
    evidence = PreflightEvidence(environment="prod", role=ROLE, missing_rights=missing)
    return {reason.code: reason.message for reason in judge_preflight(evidence).reasons}


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("ALTER TABLE theirs ADD x int", "not-owner"),
        ("ALTER TABLE IF EXISTS ONLY public.theirs ADD x int", "not-owner"),
        ("DROP TABLE IF EXISTS nothing, theirs CASCADE", "not-owner"),
        ("CREATE UNIQUE INDEX CONCURRENTLY i ON theirs (id)", "not-owner"),
        ("DROP INDEX CONCURRENTLY theirs_pkey", "not-owner"),
        ("COMMENT ON TABLE theirs IS 'x'", "not-owner"),
        ("ALTER TYPE mood ADD VALUE 'sad'", "not-owner"),
        ("DROP VIEW seen", "not-owner"),
        ("DROP SCHEMA closed", "not-owner"),
        ("CREATE TABLE t (a int)", "no-create"),
        ("CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "no-create"),
        ("CREATE TABLE closed.t (a int)", "no-create"),
        ("ALTER TABLE closed.secret ADD a int", "no-create"),
        ("CREATE SCHEMA fresh", "no-create"),
        ("DELETE FROM theirs", "no-privilege"),
        ("INSERT INTO theirs VALUES (1)", "no-privilege"),
        ("ALTER TABLE mine.own ADD FOREIGN KEY (id) REFERENCES theirs", "no-privilege"),
    ],
)
def test_what_the_role_may_not_do_is_refused(role: Connection, sql: str, code: str) -> None:
    found = refusals(role, sql)
    assert list(found) == [code]
    assert found[code].startswith(f"r1 would fail: `{sql}`, but {ROLE} ")
    assert "migrate as " in found[code]
    assert "GRANT" in found[code]


def test_what_the_role_may_do_is_allowed(role: Connection) -> None:
    allowed = """
    ALTER TABLE mine.own ADD x int; DROP TABLE mine.guest; CREATE TABLE mine.t (a int);
    ALTER TABLE mine.t ADD b int; UPDATE theirs SET id = 2; DROP TABLE IF EXISTS nothing;
    ALTER TABLE later RENAME TO latest; CREATE SCHEMA IF NOT EXISTS mine;
    """
    assert refusals(role, allowed) == {}


def test_rights_after_a_change_of_role_are_that_role_s(role: Connection) -> None:
    assert refusals(role, f"SET LOCAL ROLE {OTHER}; ALTER TABLE theirs ADD x int") == {}


def test_the_version_table_must_be_writable(role: Connection) -> None:
    assert list(refusals(role, "SELECT 1", "theirs")) == ["no-privilege"]
    assert list(refusals(role, "SELECT 1", "not_there_yet")) == ["no-create"]


def test_extensions_that_only_a_superuser_may_create(role: Connection) -> None:
    names = ("plpgsql", "no_such_thing", "vector")
    sql = "".join(f"CREATE EXTENSION IF NOT EXISTS {name};" for name in names)
    revision = RevisionSql(
        revision="r1", file="r1.py", statements=read_script(sql, in_transaction=True)
    )
    found = {each.name: each for each in granted.extensions(role, [revision])}
    assert found["plpgsql"].may_create  # it is there already
    assert not found["no_such_thing"].is_available
    assert found["vector"].may_create is not True
