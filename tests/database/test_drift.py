"""Is a database what its own revisions made of it? Real projects, real databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tasks.bootstrap import bootstrap
from tasks.decisions import Verdict
from tasks.errors import Refused
from tasks.migrations import environments
from tasks.migrations.applying import runner
from tasks.migrations.drift import evidence, rebuild, resolve
from tasks.migrations.drift.expected import expect, record, recorded
from tasks.migrations.drift.judge import DriftEvidence, judge_drift
from tests.database.projects import AlembicProject, alembic_project

BASE = [
    "CREATE TABLE item (id bigint PRIMARY KEY, note text, qty int NOT NULL DEFAULT 0)",
    "CREATE VIEW short AS SELECT id FROM item",
]


@pytest.fixture
def project(
    tmp_path: Path, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[AlembicProject]:
    with alembic_project(tmp_path, server_url, monkeypatch) as made:
        made.revision("r1", up=BASE, back=["DROP VIEW short", "DROP TABLE item"])
        made.revision(
            "r2", "r1", ["ALTER TABLE item ADD price int"], ["ALTER TABLE item DROP price"]
        )
        yield made


def migrate(*revisions: str, is_recorded: bool = False, is_moved: bool = True) -> None:
    """Run the revisions, if they are to move; remember, if asked, what the schema is then."""
    target = environments.find("dev")
    with environments.engine(target.url).connect() as connection:
        with connection.begin():
            bootstrap(connection)
        for revision in revisions if is_moved else ():
            runner.move(connection, target.project, revision, "upgrade")
            connection.rollback()
        if is_recorded:
            with connection.begin():
                found = rebuild.fingerprint(connection, target.project)
                record(connection, revisions[-1:], found, "migrated")


def look() -> DriftEvidence:
    return evidence.gather("dev")


def verdict() -> Verdict:
    return judge_drift(look())


def told(found: Verdict) -> list[str]:
    return [f"{reason.code}: {reason.message}" for reason in found.reasons]


def test_a_hot_fix_index_is_named_whether_or_not_the_schema_was_recorded(
    project: AlembicProject,
) -> None:
    migrate("r1", "r2")
    for origin in ("rebuilt", "recorded"):
        found = look()
        assert found.origin == origin
        assert judge_drift(found).verdict == "none"
        project.execute("dev", "CREATE INDEX ix_hot ON item (note)")
        hot = verdict()
        assert hot.verdict == "drift"
        [reason] = hot.reasons
        assert reason.code == "schema-drift"
        assert reason.message.startswith(
            "dev: index public.ix_hot is there, and no revision made it: "
            "CREATE INDEX ON public.item USING btree (note). Adopt it as a revision"
        )
        assert "--adopt, --revert or --accept" in reason.message
        project.execute("dev", "DROP INDEX ix_hot")
        migrate("r2", is_recorded=True, is_moved=False)


def test_at_base_nothing_is_promised(project: AlembicProject) -> None:
    project.execute("dev", "CREATE TABLE theirs (i int)")
    found = look()
    assert (found.origin, found.heads) == ("nothing-promised", ())
    assert judge_drift(found).verdict == "none"


def test_a_stamped_database_is_told_where_it_really_is(project: AlembicProject) -> None:
    migrate()
    project.execute(
        "dev",
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
        "INSERT INTO alembic_version VALUES ('r2')",
    )
    found = verdict()
    assert found.verdict == "drift"
    [message] = told(found)
    assert message.startswith(
        "stamped-not-applied: the version table of 'dev' says r2, but the schema is that of base: "
    )
    assert "Stamp it back (alembic stamp base) and migrate" in message
    with pytest.raises(Refused, match="stamped-not-applied"):
        resolve.revert("dev")


def test_a_database_stamped_ahead_is_told_which_revision_it_has(project: AlembicProject) -> None:
    migrate("r1", is_recorded=True)
    project.execute("dev", "UPDATE alembic_version SET version_num = 'r2'")
    found = look()
    assert found.stands_at == ("r1",)
    assert [reason.code for reason in judge_drift(found).reasons] == ["stamped-not-applied"]


def test_newer_revisions_on_disk_are_no_drift(project: AlembicProject) -> None:
    migrate("r1", "r2", is_recorded=True)
    project.revision("r3", "r2", ["ALTER TABLE item ADD colour text"])
    assert verdict().verdict == "none"
    older = "UPDATE headway.schema_fingerprint SET document = document - 'format'"
    project.execute("dev", older)
    found = look()
    assert found.origin == "rebuilt"
    assert judge_drift(found).verdict == "none"


def test_column_order_and_statistics_are_information(project: AlembicProject) -> None:
    migrate("r1", "r2", is_recorded=True)
    project.execute(
        "dev",
        "DROP VIEW short",
        "ALTER TABLE item DROP note, ADD note text",
        "ALTER TABLE item ALTER qty SET STATISTICS 400",
        "CREATE VIEW short AS SELECT id FROM item",
        "INSERT INTO item (id) SELECT generate_series(1, 100)",
        "ANALYZE item",
    )
    found = verdict()
    assert (found.verdict, found.reasons) == ("information", ())
    assert len(found.details["information"]) == 2


def test_what_cannot_be_rebuilt_is_unknown_and_never_fine(project: AlembicProject) -> None:
    migrate("r1")
    project.execute("dev", "UPDATE alembic_version SET version_num = 'from_the_future'")
    found = verdict()
    assert found.verdict == "unknown"
    assert "no file defines revision from_the_future" in found.reasons[0].message


def test_revisions_that_run_nowhere_else_leave_it_unknown(project: AlembicProject) -> None:
    migrate("r1", "r2")
    project.revision("r2", "r1", ["SELECT no_such_function()"])
    found = verdict()
    assert found.verdict == "unknown"
    assert "revision r2 does not run on an empty database" in found.reasons[0].message


def test_whoever_owns_the_database_is_no_drift(project: AlembicProject) -> None:
    migrate("r1", "r2")
    project.execute(
        "dev",
        "DO $$ BEGIN CREATE ROLE app_ro; "
        "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
        "ALTER TABLE item OWNER TO app_ro",
        "ALTER VIEW short OWNER TO app_ro",
    )
    assert verdict().verdict == "none"
    project.execute("dev", "ALTER VIEW short OWNER TO CURRENT_USER")
    assert [each.attribute for each in look().differences] == ["owner"]


def test_the_same_fingerprint_is_recorded_once(project: AlembicProject) -> None:
    migrate("r1", "r2", is_recorded=True)
    target = environments.find("dev")
    with project.engines["dev"].begin() as tx:
        found = rebuild.fingerprint(tx, target.project)
        record(tx, ("r2",), found, "verified")
        kept = recorded(tx, ("r2",))
        assert kept == found
        assert kept is not None
        assert kept.hash == found.hash
        assert expect(tx, target).origin == "recorded"
    assert project.rows("dev", "SELECT heads, origin FROM headway.schema_fingerprint") == [
        (["r2"], "migrated")
    ]


def test_a_schema_that_somebody_has_locked_is_unknown_after_a_short_wait(
    project: AlembicProject,
) -> None:
    migrate("r1", "r2", is_recorded=True)
    name = project.engines["dev"].url.database
    project.execute("dev", f"ALTER DATABASE {name} SET lock_timeout = '50ms'")
    with project.engines["dev"].begin() as somebody:
        somebody.exec_driver_sql("LOCK TABLE short IN ACCESS EXCLUSIVE MODE")
        found = verdict()
    assert found.verdict == "unknown"
    assert "its schema cannot be read: canceling statement due to lock timeout" in told(found)[0]


def test_headways_own_database_is_what_its_revisions_make_of_it(database: Engine) -> None:
    found = evidence.gather("local")
    assert (found.origin, found.differences) == ("rebuilt", ())
