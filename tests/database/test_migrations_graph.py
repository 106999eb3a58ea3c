"""Graph and files against real databases: what is refused, and what is said about it."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tasks.decisions import Verdict
from tasks.migrations import environments
from tasks.migrations.revision_graph import conflicts, records
from tasks.migrations.revision_graph.evidence import gather
from tasks.migrations.status import migration_status
from tests.database.projects import AlembicProject
from tests.database.revision_runs import OCCASION, judged, planned, refusal, run_down, run_up

BOTH_WAYS = ("upgrade", "downgrade")


@pytest.fixture
def line(project: AlembicProject) -> AlembicProject:
    """a1 <- b1 <- c1, all of them applied."""
    project.revision("a1", None, ["CREATE TABLE t (id int PRIMARY KEY)"], ["DROP TABLE t"])
    project.revision("b1", "a1", ["ALTER TABLE t ADD b int"], ["ALTER TABLE t DROP b"])
    project.revision("c1", "b1", ["ALTER TABLE t ADD c int"], ["ALTER TABLE t DROP c"])
    run_up(project)
    return project


def state() -> tuple[str, str]:
    [status] = migration_status()
    return status.state, status.problem or ""


def test_a_revision_id_in_two_files_is_refused_with_both_paths(project: AlembicProject) -> None:
    """S3: also where the files have one name in two folders."""
    other = project.folder / "more"
    other.mkdir()
    project.revision("a1", None, file="one.py").rename(other / "one.py")
    project.revision("a1", None, file="one.py")
    project.extra = f'version_locations = ["{project.versions}", "{other}"]'
    project.configure()
    reason = refusal(project)
    assert reason.code == "duplicate-revision"
    assert "db/versions/one.py" in reason.message
    assert "more/one.py" in reason.message
    assert state()[0] == "broken"


def test_a_missing_parent_is_refused_with_the_revision_and_the_child(
    project: AlembicProject,
) -> None:
    """S4."""
    project.revision("b1", "nowhere")
    reason = refusal(project)
    assert reason.code == "missing-down-revision"
    assert all(named in reason.message for named in ("b1.py", "'b1'", "'nowhere'"))
    assert state()[0] == "broken"


def test_a_cycle_is_refused_and_printed(project: AlembicProject) -> None:
    """S5."""
    project.revision("a1", "c1")
    project.revision("b1", "a1")
    project.revision("c1", "b1")
    reason = refusal(project)
    assert reason.code == "cycle"
    assert "a1 -> c1 -> b1 -> a1" in reason.message
    assert state()[0] == "broken"


@pytest.mark.parametrize("direction", BOTH_WAYS)
def test_an_edited_revision_is_refused_with_the_stored_and_the_current_sql(
    line: AlembicProject, direction: str
) -> None:
    """S6."""
    line.revision("b1", "a1", ["ALTER TABLE t ADD b text"], ["ALTER TABLE t DROP b"])
    line.revision("d1", "c1", ["SELECT 1"])
    reason = refusal(line, direction=direction)
    assert reason.code == "edited-revision"
    for named in ("b1.py", "ADD b int`", "ADD b text`", "by ada", "--restore b1"):
        assert named in reason.message
    assert state()[0] == "edited"


def test_a_helper_that_says_something_else_is_an_edit_of_those_who_import_it(
    project: AlembicProject,
) -> None:
    helper = project.folder / "kind.txt"
    helper.write_text("int")
    kind = f"Path('{helper}').read_text()"
    up = f"from pathlib import Path\nop.execute('CREATE TABLE t (x ' + {kind} + ')')"
    project.revision("a1", None, up, ["DROP TABLE t"])
    run_up(project)
    assert planned(project) == []
    helper.write_text("text")
    reason = refusal(project)
    assert reason.code == "edited-revision"
    assert "`CREATE TABLE t (x int)`, and is now `CREATE TABLE t (x text)`" in reason.message


def test_a_reformatted_file_is_accepted_and_recorded_once(line: AlembicProject) -> None:
    """S8: line ends, comments, quotes, layout."""
    path = line.versions / "b1.py"
    source = path.read_text().replace(
        "'ALTER TABLE t ADD b int'", '\n"ALTER TABLE "\n"t ADD b int"  # why\n'
    )
    path.write_bytes(f"# -*- coding: utf-8 -*-\n{source}".replace("\n", "\r\n").encode())
    verdict = judged(line)
    assert (verdict.verdict, verdict.details["cosmetic"]) == ("nothing-to-do", ["b1"])
    assert state() == ("current", "")
    with environments.engine(environments.find("dev").url).begin() as connection:
        found = verdict.details["cosmetic"]
        assert records.record_cosmetic(connection, line.project, found, OCCASION) == ("b1",)
        assert records.record_cosmetic(connection, line.project, found, OCCASION) == ()
    assert "cosmetic" not in judged(line).details
    rows = line.rows(
        "dev",
        "SELECT revision, direction, actor FROM headway.migration_run ORDER BY id DESC LIMIT 1",
    )
    assert rows == [("b1", "cosmetic", "ada")]
    assert run_down(line, steps=2) == ["c1", "b1"]


def test_a_database_that_a_newer_release_migrated_says_how_to_go_back(
    line: AlembicProject,
) -> None:
    """S10."""
    (line.versions / "b1.py").unlink()
    (line.versions / "c1.py").unlink()
    for direction in BOTH_WAYS:
        reason = refusal(line, direction=direction)
        assert reason.code == "unknown-database-revision"
        assert (
            "headway migrate rollback --env dev --to a1` from the newer release" in reason.message
        )
        assert "'b1' (applied" in reason.message
        assert "by ada" in reason.message
    assert state()[0] == "ahead"
    assert run_down(line, to="a1", use_stored=True) == ["c1", "b1"]
    assert state()[0] == "current"


def test_a_database_of_another_project_is_foreign(line: AlembicProject) -> None:
    """S10."""
    line.execute("dev", "UPDATE alembic_version SET version_num = 'zzz'")
    reason = refusal(line)
    assert reason.code == "unknown-database-revision"
    assert "(foreign)" in reason.message
    assert state()[0] == "unknown"


def branches(project: AlembicProject) -> None:
    for name, down in (("a1", None), ("b1", "a1"), ("b2", "a1"), ("m1", ("b1", "b2"))):
        up, back = [f"CREATE TABLE {name} (id int)"], [f"DROP TABLE {name}"]
        project.revision(name, down, up if name != "m1" else [], back if name != "m1" else [])


def test_one_step_back_from_a_merge_undoes_the_merge_only(project: AlembicProject) -> None:
    """S11."""
    branches(project)
    run_up(project)
    assert run_down(project, steps=1) == ["m1"]
    assert project.heads("dev") == ["b1", "b2"]
    assert project.rows("dev", "SELECT to_regclass('b1')::text, to_regclass('b2')::text") == [
        ("b1", "b2")
    ]
    assert run_up(project) == ["m1"]
    assert project.heads("dev") == ["m1"]


def test_a_rollback_across_branches_follows_the_order_of_the_history(
    project: AlembicProject,
) -> None:
    """S12: b2 was applied before b1."""
    branches(project)
    assert run_up(project, target="b2") == ["a1", "b2"]
    assert run_up(project) == ["b1", "m1"]
    assert planned(project, direction="downgrade", steps=3) == ["m1", "b1", "b2"]
    assert planned(project, direction="downgrade", to="b1") == ["m1", "b2"]
    assert run_down(project, to="base") == ["m1", "b1", "b2", "a1"]
    assert project.heads("dev") == []


def test_a_stamp_is_not_taken_for_a_run(line: AlembicProject) -> None:
    """S21: nothing is planned, and what is only stamped is named until it was compared."""
    assert run_down(line, steps=2) == ["c1", "b1"]
    line.execute(
        "dev",
        "UPDATE alembic_version SET version_num = 'c1'",
        "INSERT INTO headway.migration_run (environment, revision, down_revision, direction) "
        "VALUES ('dev', 'c1', 'a1', 'stamp')",
    )
    assert judged(line).details["stamped"] == ["b1", "c1"]
    line.execute(
        "dev",
        "INSERT INTO headway.schema_fingerprint (heads, hash, document, origin) "
        "VALUES (ARRAY['c1'], 'x', '{}', 'verified')",
    )
    assert "stamped" not in judged(line).details


def test_a_version_table_in_another_schema_is_refused(line: AlembicProject) -> None:
    line.execute("dev", "CREATE SCHEMA app", "ALTER TABLE alembic_version SET SCHEMA app")
    for direction in BOTH_WAYS:
        reason = refusal(line, direction=direction)
        assert reason.code == "history-in-another-schema"
        assert 'version_table_schema = "app"' in reason.message
    assert state()[0] == "elsewhere"
    line.extra = 'ignore = ["table app.alembic_version"]'
    line.configure()
    assert judged(line).verdict == "allowed"
    line.extra = 'version_table_schema = "app"'
    line.configure()
    assert judged(line).verdict == "nothing-to-do"


def test_what_was_applied_before_headway_is_trusted_but_not_verified(
    line: AlembicProject,
) -> None:
    line.execute("dev", "DROP SCHEMA headway CASCADE", "DROP SCHEMA headway_archive")
    verdict = judged(line)
    assert (verdict.verdict, verdict.details["unverified"]) == (
        "nothing-to-do",
        ["a1", "b1", "c1"],
    )
    line.revision("d1", "c1", ["SELECT 1"], ["SELECT 1"])
    assert run_up(line) == ["d1"]
    assert judged(line).details["unverified"] == ["a1", "b1", "c1"]
    assert planned(line, direction="downgrade", steps=2) == ["d1", "c1"]


def test_branch_labels_and_dependencies_across_folders(project: AlembicProject) -> None:
    other = project.folder / "more"
    other.mkdir()
    project.extra = f'version_locations = ["{project.versions}", "{other}"]'
    project.configure()
    project.revision("a1", None, ["CREATE TABLE a (id int)"], ["DROP TABLE a"])
    label = 'branch_labels = ("shop",)\ndepends_on = "a1"'
    moved = project.revision(
        "s1", None, ["CREATE TABLE s AS TABLE a"], ["DROP TABLE s"], constants=label
    )
    moved.rename(other / moved.name)
    project.revision("b1", "a1", ["SELECT 1"], constants='depends_on = "shop"')
    assert refusal(project).code == "multiple-heads"
    assert planned(project, target="shop@head") == ["a1", "s1"]
    assert run_up(project, target="heads") == ["a1", "s1", "b1"]
    assert judged(project, target="heads").verdict == "nothing-to-do"
    assert run_down(project, to="base") == ["b1", "s1", "a1"]


def test_the_content_of_a_revision_is_the_same_wherever_it_stands_and_however_it_looks(
    project: AlembicProject,
) -> None:
    """S46: what a promotion compares; a plan carries it for every revision."""
    up, back = ["CREATE TABLE t (id int)"], ["DROP TABLE t"]
    path = project.revision("a1", None, up, back)

    def content(verdict: Verdict) -> Any:
        [listed] = verdict.details["revisions"]
        return listed["content"]

    first = content(judged(project))
    path.write_text("# Reformatted.\n" + path.read_text())
    assert content(judged(project)) == first
    run_up(project)
    [recorded] = gather("dev").history
    assert recorded.script_checksum == first
    path.write_text(path.read_text().replace("id int", "id bigint"))
    assert conflicts.find(gather("dev")).edited == {"a1"}


def test_nothing_on_disk_or_in_the_database_makes_the_evidence_fail(
    line: AlembicProject,
) -> None:
    (line.versions / "broken.py").write_text("def (:\n")
    (line.versions / "bytes.py").write_bytes(b"\xff\xfe")
    (line.versions / "computed.py").write_text('revision = "x" + str(1)\n')
    verdict = judged(line)
    assert {reason.code for reason in verdict.reasons} == {"unreadable-revision"}
    assert len(verdict.reasons) == 3
    assert state()[0] == "broken"
    line.execute("dev", "DROP TABLE alembic_version")
    assert state()[0] == "broken"
    with environments.engine(environments.find("dev").url).connect() as connection:
        assert not sa.inspect(connection).has_table("alembic_version")
