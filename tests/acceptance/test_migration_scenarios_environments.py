"""What happens between environments, and where a schema is not as its revisions made it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main
from flows.environments import SyncResult, check_schema, resolve_conflicts, sync_environments
from flows.migrate import apply_migrations, plan_migrations
from flows.pipeline import run_by_ledger
from tasks.errors import Refused
from tasks.migrations.report import MigrationResult
from tasks.migrations.status import migration_status
from tasks.migrations.timeline import read_history
from tests.database.projects import AlembicProject, alembic_project

PERSON: dict[str, Any] = {"actor": "ada", "reason": "a test"}
TABLE = (["CREATE TABLE t (id int PRIMARY KEY, c text)"], ["DROP TABLE t"])
HOT = "CREATE INDEX ix_hot ON t (c)"
QUICK: dict[str, Any] = {"rehearse": False}


@pytest.fixture
def three(
    tmp_path: Path, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[AlembicProject]:
    """A project with three environments, and a first revision."""
    names = ("dev", "staging", "prod")
    with alembic_project(tmp_path, server_url, monkeypatch, names) as made:
        made.revision("r1", None, *TABLE)
        yield made


def upgrade(environment: str = "dev", **asked: Any) -> MigrationResult:
    return run_by_ledger(apply_migrations, {**PERSON, "environment": environment, **asked})


def sync(**asked: Any) -> SyncResult:
    return run_by_ledger(sync_environments, {**PERSON, **asked})


def refused(flow: Any, of: str, **asked: Any) -> dict[str, str]:
    """The reasons by code of a run that has to be refused: nothing was run, and it is one row."""
    before = len(read_history(of, 100))
    with pytest.raises(Refused) as caught:
        run_by_ledger(flow, {**PERSON, **asked})
    rows = read_history(of, 100)
    assert [row.outcome for row in rows[: len(rows) - before]] == ["refused"]
    return {reason.code: reason.message for reason in caught.value.reasons}


def test_hot_fix_by_hand_is_refused_and_taken_back(project: AlembicProject) -> None:
    """S43: drift names the index; the upgrade that makes it is refused until it is reverted."""
    project.revision("r1", None, *TABLE)
    upgrade(**QUICK)
    project.revision("r2", "r1", [HOT], ["DROP INDEX ix_hot"])
    project.execute("dev", HOT)
    reasons = refused(apply_migrations, "dev", environment="dev")
    assert "index public.ix_hot is there" in reasons["schema-drift"]
    assert "--adopt, --revert or --accept" in reasons["schema-drift"]
    asked = {**PERSON, "environment": "dev"}
    run_by_ledger(resolve_conflicts, {**asked, "how": "revert"})
    assert [moved.revision for moved in upgrade().moved] == ["r2"]
    assert migration_status()[0].state == "current"


def test_hot_fix_is_adopted_and_others_run_it(three: AlembicProject) -> None:
    """S43: adopted, it is a revision that the other environments run as any other."""
    for name in ("dev", "prod"):
        upgrade(name, **QUICK)
    three.execute("prod", HOT)
    asked = {**PERSON, "environment": "prod"}
    written = run_by_ledger(resolve_conflicts, {**asked, "how": "adopt"})
    (file,) = written.files
    assert (three.versions / file).exists()
    assert upgrade("prod").verdict == "nothing-to-do"
    (moved,) = upgrade("dev").moved
    assert moved.revision == three.heads("prod")[0]
    indexes = "SELECT indexname FROM pg_indexes WHERE indexname = 'ix_hot'"
    assert three.rows("dev", indexes) == [("ix_hot",)]


def test_plan_is_stale_once_the_schema_drifted(project: AlembicProject) -> None:
    """S44: a saved plan is refused after drift, and runs again without it."""
    project.revision("r1", None, *TABLE)
    upgrade(**QUICK)
    project.revision("r2", "r1", [HOT], ["DROP INDEX ix_hot"])
    plan = run_by_ledger(plan_migrations, {"actor": "ada", "environment": "dev"})
    project.execute("dev", "ALTER TABLE t ADD by_hand int")
    asked = {"environment": "dev", "plan": plan.short_hash}
    reasons = refused(apply_migrations, "dev", **asked)
    assert "the schema of the database changed" in reasons["plan-is-stale"]
    project.execute("dev", "ALTER TABLE t DROP by_hand")
    assert [moved.revision for moved in upgrade(**asked).moved] == ["r2"]


def test_other_content_is_not_promoted(
    three: AlembicProject, caplog: pytest.LogCaptureFixture
) -> None:
    """S46: refused with both checksums; migrating prod by itself says it in a warning."""
    upgrade("dev", **QUICK)
    sync(targets=["staging"], **QUICK)
    three.revision("r1", None, ["CREATE TABLE t (id bigint PRIMARY KEY)"], ["DROP TABLE t"])
    reasons = refused(sync_environments, "prod", targets=["prod"])
    assert "'staging' ran content " in reasons["content-differs"]
    assert "the file here has " in reasons["content-differs"]
    assert three.heads("prod") == []
    with caplog.at_level(logging.WARNING, "headway.migrations"):
        run_by_ledger(plan_migrations, {"actor": "ada", "environment": "prod", **QUICK})
    assert "[content-differs]" in caplog.text


def test_skipped_revision_is_the_gap(three: AlembicProject) -> None:
    """S47: the matrix shows what prod lacks, and synchronising gives it that."""
    three.revision("r2", "r1", ["CREATE TABLE u (id int)"], ["DROP TABLE u"])
    three.revision("r3", "r1", ["CREATE TABLE w (id int)"], ["DROP TABLE w"])
    three.revision("r4", ("r2", "r3"), [], [])
    for name in ("dev", "staging"):
        upgrade(name, **QUICK)
    upgrade("prod", target="r3", **QUICK)
    found = sync()
    (target,) = (each for each in found.plan.targets if each.environment == "prod")
    assert (target.revisions, target.gaps) == (("r2", "r4"), ())
    states = found.plan.matrix.row("prod").cells
    assert {name: cell.state for name, cell in states.items() if name in {"r2", "r3"}} == {
        "r2": "pending",
        "r3": "applied",
    }
    assert [moved.revision for moved in found.migrated[0].moved] == ["r2", "r4"]


def test_promotion_goes_by_proof(three: AlembicProject) -> None:
    """Drift of a target, and another resulting schema than its predecessor has, are refused."""
    upgrade("dev", **QUICK)
    sync(**QUICK)
    assert three.heads("prod") == ["r1"]
    three.revision("r2", "r1", ["CREATE TABLE u (id int)"], ["DROP TABLE u"])
    upgrade("dev", **QUICK)
    three.execute("prod", HOT)
    assert "ix_hot" in refused(sync_environments, "prod")["schema-drift"]
    assert (three.heads("staging"), three.heads("prod")) == (["r2"], ["r1"])
    run_by_ledger(resolve_conflicts, {**PERSON, "environment": "prod", "how": "accept"})
    assert [moved.revision for moved in sync().migrated[0].moved] == ["r2"]


def test_other_schema_than_the_predecessor_is_refused(three: AlembicProject) -> None:
    """A revision that does something else here than there is not promoted."""
    upgrade("dev", **QUICK)
    sync(**QUICK)
    up = "if op.get_bind().exec_driver_sql('SELECT 1 FROM t LIMIT 1').first():\n"
    up += "    op.execute('CREATE TABLE for_rows (id int)')\n"
    up += "op.execute('CREATE TABLE u (id int)')"
    three.revision("r2", "r1", up, ["DROP TABLE u", "DROP TABLE IF EXISTS for_rows"])
    for name in ("dev", "staging"):
        upgrade(name, **QUICK)
    three.execute("prod", "INSERT INTO t VALUES (1)")
    reasons = refused(sync_environments, "prod")
    assert "table public.for_rows" in reasons["schema-differs-from-predecessor"]
    assert three.heads("prod") == ["r1"]


def test_newer_code_is_no_drift(project: AlembicProject) -> None:
    """S49: expected is what the database's own revision made."""
    project.revision("r1", None, *TABLE)
    upgrade(**QUICK)
    project.revision("r2", "r1", ["ALTER TABLE t ADD more int"], ["ALTER TABLE t DROP more"])
    (look,) = run_by_ledger(check_schema, {"environments": ["dev"]})
    assert look.summary == "dev: as it should be"
    assert [(e.state, e.drift) for e in migration_status()] == [("pending", 0)]


def test_column_order_is_information(
    project: AlembicProject, capsys: pytest.CaptureFixture[str]
) -> None:
    """S51: another order of columns, or other statistics, end with exit code 0."""
    project.revision("r1", None, *TABLE)
    upgrade(**QUICK)
    moved = ("ALTER TABLE t DROP id", "ALTER TABLE t ADD id int PRIMARY KEY")
    project.execute("dev", *moved, "INSERT INTO t (id) VALUES (1)", "ANALYZE t")
    with pytest.raises(SystemExit) as ended:
        main(["migrate", "drift", "--env", "dev", "--json"])
    assert ended.value.code == 0
    (look,) = json.loads(capsys.readouterr().out)["result"]
    assert look["found"]["verdict"] == "information"
    assert look["found"]["information"]


def test_chance_is_flagged_in_the_plan(project: AlembicProject) -> None:
    """S52: what comes out otherwise the second time is named in the plan."""
    project.revision("r1", None, *TABLE)
    upgrade(**QUICK)
    project.execute("dev", "INSERT INTO t SELECT g, 'x' FROM generate_series(1, 3) g")
    up = ["UPDATE t SET c = random()::text WHERE id > 0"]
    project.revision("r2", "r1", up, [], constants="irreversible = 'chance'")
    plan = run_by_ledger(plan_migrations, {"actor": "ada", "environment": "dev"})
    assert plan.rehearsal is not None
    assert any("public.t.c" in each for each in plan.rehearsal.nondeterministic)
    assert "Came out otherwise the second time: public.t.c" in plan.as_markdown()


def test_database_that_headway_never_migrated_goes_on(project: AlembicProject) -> None:
    """A database at head by Alembic is rebuilt once to be compared, recorded, and migrated on."""
    project.revision("r1", None, *TABLE)
    by_alembic = "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)"
    project.execute("dev", *TABLE[0], by_alembic, "INSERT INTO alembic_version VALUES ('r1')")
    project.revision("r2", "r1", [HOT], ["DROP INDEX ix_hot"])
    assert [moved.revision for moved in upgrade().moved] == ["r2"]
    recorded = "SELECT count(*) FROM headway.schema_fingerprint WHERE heads = '{r2}'"
    assert project.rows("dev", recorded) == [(1,)]
    assert [(e.state, e.drift) for e in migration_status()] == [("current", 0)]
