"""Ways out of conflicts: heads that are proven to commute, spliced revisions, lost files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.errors import InputError
from tasks.migrations import environments, steps
from tasks.migrations.merging import proving as merging
from tasks.migrations.merging.commutation import judge_merge
from tasks.migrations.revision_graph import conflicts, splices, stored
from tasks.migrations.revision_graph.evidence import gather
from tasks.migrations.revision_graph.plan import judge_plan
from tests.database.projects import AlembicProject, in_a_run
from tests.database.revision_runs import planned, refusal, run_down, run_up


def two_heads(project: AlembicProject, first: list[str], second: list[str]) -> None:
    project.revision("a1", None, ["CREATE TABLE t (id int PRIMARY KEY)"], ["DROP TABLE t"])
    project.revision("b1", "a1", first, file="b1_ours.py")
    project.revision("b2", "a1", second, file="b2_theirs.py")


def test_heads_that_commute_are_joined_by_a_merge_revision(
    project: AlembicProject, server_url: str
) -> None:
    """S1: both orders give one schema, although the columns come in another order."""
    two_heads(project, ["ALTER TABLE t ADD x int"], ["ALTER TABLE t ADD y int"])
    assert refusal(project).code == "multiple-heads"
    assert "--merge b1 b2" in refusal(project).message
    proof = merging.prove_commutes(project.project, server_url, ["b1", "b2"])
    verdict = judge_merge(proof)
    assert verdict.verdict == "allowed"
    assert verdict.details["orders"] == [["b1", "b2"], ["b2", "b1"]]
    path = merging.write_merge(project.project, ["b1", "b2"])
    assert run_up(project) == ["a1", "b1", "b2", path.name.partition("_")[0]]
    assert project.rows("dev", "SELECT x, y FROM t") == []


def test_heads_that_create_the_same_table_are_refused_with_the_table_and_both_files(
    project: AlembicProject, server_url: str
) -> None:
    """S2."""
    table = ["CREATE TABLE orders (id int PRIMARY KEY)"]
    two_heads(project, table, table)
    verdict = judge_merge(merging.prove_commutes(project.project, server_url, ["b1", "b2"]))
    assert verdict.verdict == "refused"
    [reason] = verdict.reasons
    assert reason.code == "heads-conflict"
    for named in ("table public.orders", "b1_ours.py", "b2_theirs.py", "already exists"):
        assert named in reason.message
    assert verdict.details["objects"] == ["table public.orders"]


def test_heads_that_leave_other_rows_in_another_order_are_refused(
    project: AlembicProject, server_url: str
) -> None:
    two_heads(project, ["INSERT INTO t VALUES (1)"], ["UPDATE t SET id = 2"])
    verdict = judge_merge(merging.prove_commutes(project.project, server_url, ["b1", "b2"]))
    assert verdict.details["objects"] == ["rows of public.t"]


def test_a_merge_follows_the_projects_own_template(project: AlembicProject) -> None:
    two_heads(project, ["SELECT 1"], ["SELECT 1"])
    (project.folder / "db" / "script.py.mako").write_text(
        '"""OURS: ${message}"""\nrevision = ${repr(up_revision)}\n'
        "down_revision = ${repr(down_revision)}\n"
        "def upgrade() -> None: ${upgrades or 'pass'}\n"
        "def downgrade() -> None: ${downgrades or 'pass'}\n"
    )
    path = merging.write_merge(project.project, ["b1", "b2"], "Join them")
    assert path.read_text().startswith('"""OURS: Join them"""')
    assert len(planned(project)) == 4


def test_only_heads_are_merged(project: AlembicProject, server_url: str) -> None:
    two_heads(project, ["SELECT 1"], ["SELECT 1"])
    for heads in (["b1"], ["b1", "b1"], ["b1", "a1"], ["b1", "zz"]):
        with pytest.raises(InputError, match="the heads are b1, b2"):
            merging.prove_commutes(project.project, server_url, heads)


def spliced(project: AlembicProject) -> tuple[Path, Path]:
    """a1 <- b1 <- c1 are applied; then x1 is put between a1 and b1."""
    project.revision("a1", None, ["CREATE TABLE t (id int PRIMARY KEY)"], ["DROP TABLE t"])
    project.revision("b1", "a1", ["ALTER TABLE t ADD b int"], ["ALTER TABLE t DROP b"])
    project.revision("c1", "b1", ["ALTER TABLE t ADD c int"], ["ALTER TABLE t DROP c"])
    run_up(project)
    late = project.revision("x1", "a1", ["ALTER TABLE t ADD x int"], ["ALTER TABLE t DROP x"])
    child = project.revision("b1", "x1", ["ALTER TABLE t ADD b int"], ["ALTER TABLE t DROP b"])
    return late, child


def test_a_spliced_revision_is_refused_both_ways_and_moved_behind_the_head(
    project: AlembicProject,
) -> None:
    late, child = spliced(project)
    for direction in ("upgrade", "downgrade"):
        reason = refusal(project, direction=direction)
        assert reason.code == "spliced-revision"
        assert all(named in reason.message for named in ("x1.py", "b1", "--reparent x1"))
    found = conflicts.find(gather("dev"))
    assert set(splices.reparent(project.project, found, "x1")) == {late, child}
    assert "down_revision = 'c1'" in late.read_text()
    assert "down_revision = 'a1'" in child.read_text()
    assert run_up(project) == ["x1"]
    assert project.heads("dev") == ["x1"]
    with pytest.raises(InputError, match="nothing to move"):
        splices.reparent(project.project, conflicts.find(gather("dev")), "x1")


def test_a_spliced_revision_is_run_late_only_when_that_is_asked_for(
    project: AlembicProject,
) -> None:
    spliced(project)
    verdict = judge_plan(gather("dev").model_copy(update={"run_spliced": True}))
    assert [item["revision"] for item in verdict.details["revisions"]] == ["x1"]
    assert verdict.details["revisions"][0]["is_spliced"]
    run_up(project, run_spliced=True)
    assert project.heads("dev") == ["c1"]
    assert judge_plan(gather("dev")).verdict == "nothing-to-do"
    assert run_down(project, steps=4) == ["c1", "b1", "x1", "a1"]
    assert project.heads("dev") == []


def test_a_lost_file_is_restored_from_the_history(project: AlembicProject) -> None:
    """S9."""
    project.revision("a1", None, ["CREATE TABLE t (id int)"], ["DROP TABLE t"])
    lost = project.revision("b1", "a1", ["ALTER TABLE t ADD b int"], ["ALTER TABLE t DROP b"])
    project.revision("c1", "b1", ["ALTER TABLE t ADD c int"], ["ALTER TABLE t DROP c"])
    run_up(project)
    source = lost.read_text()
    lost.unlink()
    reason = refusal(project, direction="downgrade")
    assert (reason.code, "c1.py" in reason.message) == ("missing-file", True)
    with environments.engine(environments.find("dev").url).connect() as connection:
        made = stored.restore(connection, project.project, "b1")
    assert (made.name, made.read_text()) == ("b1_revision_b1.py", source)
    assert judge_plan(gather("dev")).verdict == "nothing-to-do"


def test_a_rollback_goes_through_a_lost_file_with_the_stored_copy_if_asked(
    project: AlembicProject,
) -> None:
    """S9."""
    project.revision("a1", None, ["CREATE TABLE t (id int)"], ["DROP TABLE t"])
    lost = project.revision("b1", "a1", ["ALTER TABLE t ADD b int"], ["ALTER TABLE t DROP b"])
    project.revision("c1", "b1", ["ALTER TABLE t ADD c int"], ["ALTER TABLE t DROP c"])
    run_up(project)
    lost.unlink()
    assert run_down(project, to="a1", use_stored=True) == ["c1", "b1"]
    assert project.heads("dev") == ["a1"]
    assert project.rows("dev", "SELECT * FROM t") == []


def test_the_steps_of_a_run_apply_a_spliced_revision_once(project: AlembicProject) -> None:
    spliced(project)
    for outcome in ("done", "already"):
        with in_a_run():
            assert steps.apply_revision(environment="dev", revision="x1").outcome == outcome
    assert project.rows("dev", "SELECT x FROM t") == []
