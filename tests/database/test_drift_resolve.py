"""Drift is adopted, reverted or accepted; a hot fix made by hand in one environment is tried."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from tasks.bootstrap import bootstrap
from tasks.errors import InputError, NotFound, Refused
from tasks.migrations import environments
from tasks.migrations.applying import runner
from tasks.migrations.drift import evidence, rebuild, resolve
from tasks.migrations.drift.expected import record
from tasks.migrations.fingerprint import Fingerprint, compare
from tests.database.projects import AlembicProject, alembic_project

HOT_FIX = "CREATE INDEX ix_hot ON item (note) WHERE note <> 'a:b %x'"


@pytest.fixture(params=[("prod",)])
def project(
    tmp_path: Path,
    server_url: str,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[AlembicProject]:
    with alembic_project(tmp_path, server_url, monkeypatch, request.param) as made:
        made.revision(
            "r1",
            up=[
                "CREATE TABLE item (id bigint PRIMARY KEY, note text, size varchar(10))",
                "CREATE VIEW short AS SELECT id, size FROM item",
                "CREATE TYPE mood AS ENUM ('ok', 'sad')",
            ],
            back=["DROP TYPE mood", "DROP VIEW short", "DROP TABLE item"],
        )
        for environment in request.param:
            migrate(environment, "r1")
        yield made


beside_dev = pytest.mark.parametrize("project", [("dev", "prod")], indirect=True)


def migrate(environment: str, revision: str) -> None:
    target = environments.find(environment)
    with environments.engine(target.url).connect() as connection:
        with connection.begin():
            bootstrap(connection)
        runner.move(connection, target.project, revision, "upgrade")
        connection.rollback()
        with connection.begin():
            found = rebuild.fingerprint(connection, target.project)
            record(connection, [revision], found, "migrated")


def schema(environment: str) -> Fingerprint:
    target = environments.find(environment)
    with environments.engine(target.url).connect() as connection:
        return rebuild.fingerprint(connection, target.project)


def drift(environment: str = "prod") -> list[str]:
    found = evidence.gather(environment)
    return [each.object for each in found.differences if not each.is_information]


def codes(refused: pytest.ExceptionInfo[Refused]) -> list[str]:
    return [reason.code for reason in refused.value.reasons]


@beside_dev
def test_an_adopted_hot_fix_becomes_a_revision_that_only_others_run(
    project: AlembicProject,
) -> None:
    project.execute(
        "prod",
        HOT_FIX,
        "DROP VIEW short",
        "ALTER TABLE item ALTER size TYPE varchar(20)",
        "CREATE VIEW short AS SELECT id, size FROM item",
    )
    before = schema("prod")
    made = resolve.adopt("prod", actor="ada", reason="it was slow")
    assert schema("prod").hash == before.hash
    assert project.heads("prod") == [made.revision]
    assert drift() == []
    [row] = project.rows(
        "prod",
        "SELECT revision, down_revision, actor, reason, source LIKE '%ix_hot%' "
        "FROM headway.migration_run WHERE direction = 'adopt'",
    )
    assert row == (made.revision, "r1", "ada", "it was slow", True)

    migrate("dev", made.revision)
    assert compare(schema("prod"), schema("dev")) == ()
    target = environments.find("dev")
    with environments.engine(target.url).connect() as connection:
        runner.move(connection, target.project, made.revision, "downgrade")
    assert [each.object for each in compare(schema("prod"), schema("dev"))] == [
        "column public.item.size",
        "index public.ix_hot",
    ]


def test_a_reverted_hot_fix_leaves_the_schema_that_was_promised(project: AlembicProject) -> None:
    promised = schema("prod")
    project.execute(
        "prod",
        HOT_FIX,
        "DROP VIEW short",
        "CREATE VIEW short AS SELECT id FROM item",
        "ALTER TABLE item ADD CONSTRAINT positive CHECK (id > 0), ALTER note SET NOT NULL",
        "CREATE TABLE empty (i int)",
    )
    undone = resolve.revert("prod")
    assert len(undone.differences) == 5
    assert schema("prod").hash == promised.hash
    assert drift() == []
    with pytest.raises(Refused) as refused:
        resolve.revert("prod")
    assert codes(refused) == ["no-drift"]


def test_an_accepted_hot_fix_is_not_reported_again_but_another_change_of_it_is(
    project: AlembicProject,
) -> None:
    project.execute("prod", HOT_FIX, "COMMENT ON TABLE item IS 'by hand'")
    assert drift() == ["index public.ix_hot", "table public.item"]
    with pytest.raises(NotFound, match=r"public.nothing has no drift; what has: index public.ix"):
        resolve.accept("prod", ["public.nothing"], actor="ada", reason="fine")
    with pytest.raises(InputError, match="say who accepts it and why"):
        resolve.accept("prod", actor="ada", reason=" ")
    resolve.accept("prod", ["public.ix_hot"], actor="ada", reason="until the next release")
    assert drift() == ["table public.item"]
    resolve.accept("prod", actor="ada", reason="a good comment")
    assert drift() == []
    assert len(evidence.gather("prod").accepted) == 2
    project.execute("prod", "COMMENT ON TABLE item IS 'again'", "DROP INDEX ix_hot")
    project.execute("prod", "CREATE INDEX ix_hot ON item (id)")
    assert drift() == ["index public.ix_hot", "table public.item"]


@beside_dev
def test_what_is_accepted_does_not_become_what_is_expected(project: AlembicProject) -> None:
    project.execute("prod", HOT_FIX)
    resolve.accept("prod", actor="ada", reason="for now")
    project.revision("r2", "r1", ["ALTER TABLE item ADD price int"])
    migrate("prod", "r2")
    migrate("dev", "r2")
    assert drift() == []
    hashes = "SELECT hash FROM headway.schema_fingerprint ORDER BY id DESC LIMIT 1"
    assert project.rows("prod", hashes) == project.rows("dev", hashes)
    project.execute("prod", "CREATE INDEX ix_other ON item (id)")
    assert drift() == ["index public.ix_other"]
    resolve.revert("prod")
    assert project.rows("prod", "SELECT to_regclass('ix_hot') IS NULL") == [(False,)]


def test_no_row_is_lost_by_a_revert(project: AlembicProject) -> None:
    project.execute(
        "prod",
        "INSERT INTO item VALUES (1, 'kept', 'small')",
        "CREATE TABLE found AS SELECT 1 AS i",
        "ALTER TABLE item ADD extra int",
        "UPDATE item SET extra = 5",
        "DROP VIEW short",
        "ALTER TABLE item ALTER size TYPE text",
        "INSERT INTO item (id, size) VALUES (2, 'longer than ten')",
        "CREATE VIEW short AS SELECT id, size FROM item",
    )
    before = schema("prod")
    with pytest.raises(Refused) as refused:
        resolve.revert("prod")
    assert {reason.code for reason in refused.value.reasons} == {"would-lose-rows"}
    assert [reason.message.partition(", which")[0] for reason in refused.value.reasons] == [
        "column public.item.extra has 1 values",
        "1 values of column public.item.size do not fit into character varying(10)",
        "table public.found has 1 rows",
    ]
    assert schema("prod").hash == before.hash
    project.execute("prod", "UPDATE item SET extra = NULL, size = 'ten'", "DELETE FROM found")
    resolve.revert("prod")
    assert project.rows("prod", "SELECT id, note, size FROM item ORDER BY id") == [
        (1, "kept", "ten"),
        (2, None, "ten"),
    ]


@beside_dev
def test_what_no_statement_undoes_is_named_and_nothing_is_done(project: AlembicProject) -> None:
    project.execute("prod", "ALTER TYPE mood ADD VALUE 'great'", HOT_FIX)
    with pytest.raises(Refused, match=r"enum public\.mood") as refused:
        resolve.revert("prod")
    assert codes(refused) == ["by-hand"]
    assert drift() == ["enum public.mood", "index public.ix_hot"]
    made = resolve.adopt("prod", actor="ada", reason="wanted")
    [file] = project.versions.glob("*_adopt_drift.py")
    assert file.name == made.file
    assert "irreversible = " in file.read_text()
    migrate("dev", made.revision)
    assert compare(schema("prod"), schema("dev")) == ()


def test_what_hangs_on_the_drift_stops_a_revert(project: AlembicProject) -> None:
    project.execute("prod", "ALTER TABLE item ALTER note TYPE varchar")
    project.execute("prod", "CREATE VIEW headway.on_it AS SELECT note FROM item")
    with pytest.raises(Refused, match="used by a view") as refused:
        resolve.revert("prod")
    assert codes(refused) == ["cannot-revert"]


def test_a_revert_never_drops_what_others_need(project: AlembicProject) -> None:
    project.execute("prod", "CREATE TABLE by_hand (i int)")
    project.execute("prod", "CREATE VIEW headway.on_it AS SELECT i FROM by_hand")
    with pytest.raises(Refused, match=r"view headway\.on_it depends on table by_hand") as refused:
        resolve.revert("prod")
    assert codes(refused) == ["others-depend-on-it"]
    assert drift() == ["table public.by_hand"]


def test_a_database_that_is_behind_adopts_nothing(project: AlembicProject) -> None:
    project.revision("r2", "r1", ["ALTER TABLE item ADD price int"])
    project.execute("prod", HOT_FIX)
    with pytest.raises(Refused, match="'prod' is at r1, the revisions' head is r2") as refused:
        resolve.adopt("prod", actor="ada", reason="it was slow")
    assert codes(refused) == ["not-at-head"]


def test_a_revision_that_cannot_be_proven_leaves_no_file(project: AlembicProject) -> None:
    project.execute("prod", HOT_FIX)
    project.revision("r1", up=["CREATE TABLE item (id bigint PRIMARY KEY, note text)"])
    with pytest.raises(Refused, match="do not make the schema that was there") as refused:
        resolve.adopt("prod", actor="ada", reason="it was slow")
    assert codes(refused) == ["not-rebuilt"]
    assert list(project.versions.glob("*_adopt_drift.py")) == []
    with project.engines["prod"].connect() as connection:
        query = "SELECT count(*) FROM headway.migration_run WHERE direction = 'adopt'"
        assert connection.scalar(text(query)) == 0
