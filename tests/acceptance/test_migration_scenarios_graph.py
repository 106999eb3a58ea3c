"""Scenarios S1 to S12 of a migration: what the revision files can be, through the flows."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main
from flows.environments import resolve_conflicts
from flows.migrate import apply_migrations, plan_migrations, roll_back_migrations
from flows.pipeline import run_by_ledger
from tests.acceptance.scenarios import PERSON, down, history, refused, up
from tests.database.projects import AlembicProject

TABLE, NO_TABLE = ["CREATE TABLE t (id int PRIMARY KEY)"], ["DROP TABLE t"]
BOTH_WAYS = (apply_migrations, roll_back_migrations)


def column(name: str) -> tuple[list[str], list[str]]:
    return [f"ALTER TABLE t ADD {name} text"], [f"ALTER TABLE t DROP {name}"]


@pytest.fixture
def line(project: AlembicProject) -> AlembicProject:
    """r1, r2 and r3, applied, with a row."""
    project.revision("r1", None, TABLE, NO_TABLE)
    project.revision("r2", "r1", *column("c"))
    project.revision("r3", "r2", *column("d"))
    assert up() == ["r1", "r2", "r3"]
    project.execute("dev", "INSERT INTO t VALUES (1, 'c', 'd')")
    return project


def typed(message: str, command: str) -> list[str]:
    """A way out as it is printed, for who types it."""
    found = re.search(rf"headway (migrate {command}[^`),]*)", message)
    assert found, message
    return shlex.split(found[1])


def headway(*words: str) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(ended.value.code or 0)


def person() -> list[str]:
    return [word for name, value in PERSON.items() for word in (f"--{name}", value)]


def test_two_heads_that_commute_are_merged(project: AlembicProject) -> None:
    """S1."""
    project.revision("r1", None, TABLE, NO_TABLE)
    project.revision("a", "r1", *column("c"))
    project.revision("b", "r1", *column("d"))
    reason = refused(project, apply_migrations)
    assert (reason.code, "a.py (a) and b.py (b)" in reason.message) == ("multiple-heads", True)
    assert headway(*typed(reason.message, "resolve"), *person()) == 0
    merged = up()
    assert (merged[0], set(merged[1:3]), len(merged)) == ("r1", {"a", "b"}, 4)


def test_two_heads_that_make_one_table_are_not_merged(project: AlembicProject) -> None:
    """S2."""
    project.revision("r1", None, TABLE, NO_TABLE)
    project.revision("a", "r1", ["CREATE TABLE x (id int)"], ["DROP TABLE x"])
    project.revision("b", "r1", ["CREATE TABLE x (id text)"], ["DROP TABLE x"])
    reason = refused(project, resolve_conflicts, how="merge")
    assert reason.code == "heads-conflict"
    assert "a.py (a) and b.py (b) both change table public.x" in reason.message
    assert len(list(project.versions.glob("*.py"))) == 3


def test_an_id_in_two_files_is_refused_with_both_paths(project: AlembicProject) -> None:
    """S3."""
    project.revision("r1", None, TABLE, NO_TABLE)
    copy = project.revision("r1", None, TABLE, NO_TABLE, file="copy.py")
    for flow in (*BOTH_WAYS, plan_migrations):
        reason = refused(project, flow)
        assert reason.code == "duplicate-revision"
        assert "copy.py and r1.py" in reason.message
    copy.unlink()
    assert up() == ["r1"]


def test_a_missing_parent_is_refused_with_its_child(project: AlembicProject) -> None:
    """S4."""
    project.revision("r2", "gone", TABLE, NO_TABLE)
    reason = refused(project, apply_migrations)
    assert reason.code == "missing-down-revision"
    assert "r2.py (revision 'r2') builds on 'gone'" in reason.message
    assert headway("migrate", "history", "--env", "dev") == 0


def test_a_cycle_is_refused_and_printed(project: AlembicProject) -> None:
    """S5."""
    project.revision("r1", "r2", TABLE, NO_TABLE)
    project.revision("r2", "r1", *column("c"))
    reason = refused(project, apply_migrations)
    assert (reason.code, "r1 -> r2 -> r1" in reason.message) == ("cycle", True)


def test_an_edited_revision_is_refused_both_ways(line: AlembicProject) -> None:
    """S6."""
    line.revision("r2", "r1", ["ALTER TABLE t ADD c varchar"], ["ALTER TABLE t DROP c"])
    for flow in BOTH_WAYS:
        reason = refused(line, flow)
        assert reason.code == "edited-revision"
        assert "was `ALTER TABLE t ADD c text`" in reason.message
        assert "is now `ALTER TABLE t ADD c varchar`" in reason.message
    assert headway(*typed(reason.message, "resolve"), *person()) == 0
    assert down() == ["r3"]


def test_a_reformatted_revision_is_accepted_and_recorded(line: AlembicProject) -> None:
    """S8."""
    file = line.versions / "r2.py"
    reformatted = "# New.\n" + file.read_text().replace("'", '"').replace("\n\n\n", "\n")
    file.write_bytes(reformatted.replace("\n", "\r\n").encode())
    assert up() == []
    assert [(row.direction, row.revision) for row in history(1)] == [("cosmetic", "r2")]
    assert up() == []
    assert [row.direction for row in history()].count("cosmetic") == 1


def test_through_a_lost_file_leads_only_the_stored_copy(
    line: AlembicProject, capsys: pytest.CaptureFixture[str]
) -> None:
    """S9."""
    (line.versions / "r2.py").unlink()
    assert headway("migrate", "status", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["state"] == "missing"
    reason = refused(line, roll_back_migrations, steps=2)
    assert reason.code == "missing-file"
    assert down(steps=2, use_stored=True) == ["r3", "r2"]
    assert headway(*typed(reason.message, "resolve"), *person()) == 0
    assert up() == ["r2", "r3"]
    assert line.rows("dev", "SELECT * FROM t") == [(1, "c", "d")]


def test_an_older_release_says_how_a_newer_one_goes_back(
    line: AlembicProject, capsys: pytest.CaptureFixture[str]
) -> None:
    """S10: both ways out, as they are printed."""
    newer = {path: path.read_text() for path in map(line.versions.joinpath, ("r2.py", "r3.py"))}
    _remove(newer)
    assert headway("migrate", "status", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["state"] == "ahead"
    reason = refused(line, apply_migrations)
    assert reason.code == "unknown-database-revision"
    assert "is ahead of these files" in reason.message
    first = typed(reason.message, "rollback")
    second = shlex.split(reason.message.partition("(headway ")[2].rpartition("(headway ")[2][:-1])
    assert second == [*first, "--use-stored"]
    assert headway(*second, *person()) == 0
    for path, content in newer.items():
        path.write_text(content)
    assert up() == ["r2", "r3"]
    assert headway(*first, *person()) == 0
    assert line.heads("dev") == ["r1"]


def _remove(files: dict[Path, Any]) -> None:
    for path in files:
        path.unlink()


@pytest.fixture
def diamond(project: AlembicProject) -> AlembicProject:
    """r1, on it b and then a, and m that joins them, applied."""
    project.revision("r1", None, TABLE, NO_TABLE)
    project.revision("a", "r1", *column("c"))
    project.revision("b", "r1", *column("d"))
    assert [*up(target="b"), *up(target="a")] == ["r1", "b", "a"]
    project.revision("m", ("a", "b"))
    assert up() == ["m"]
    return project


def test_one_step_back_at_a_merge_leaves_both_heads(diamond: AlembicProject) -> None:
    """S11."""
    assert down() == ["m"]
    assert diamond.heads("dev") == ["a", "b"]


def test_steps_back_across_a_branch_go_by_the_history(diamond: AlembicProject) -> None:
    """S12: b was applied before a, whatever the files say."""
    result = run_by_ledger(roll_back_migrations, {**PERSON, "environment": "dev", "steps": 3})
    assert [moved.revision for moved in result.moved] == ["m", "a", "b"]
    assert diamond.heads("dev") == ["r1"]
