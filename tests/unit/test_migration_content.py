"""What counts as an edit of a revision's file, and what does not."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tasks.errors import InputError
from tasks.migrations.project import Project
from tasks.migrations.revision_graph import checksums, content, integrity, splices
from tasks.migrations.revision_graph.integrity import AppliedRevision, ChangedContent, WrittenSql
from tasks.migrations.revision_graph.reading import find_file, read_scripts
from tasks.migrations.revision_graph.script import Script

SOURCE = '''"""Add t.

Revises: a1
"""
from alembic import op
import sqlalchemy as sa

revision = "b1"
down_revision = "a1"  # the first


def upgrade():
    op.create_table("t", sa.Column("x", sa.Integer()))


def downgrade():
    op.drop_table("t")
'''
EDITS = [
    ("the same", lambda s: s, True),
    ("line ends", lambda s: s.replace("\n", "\r\n"), True),
    ("a comment", lambda s: s + "# reviewed\n", True),
    ("a docstring", lambda s: s.replace("Add t.", "Add table t."), True),
    ("quotes", lambda s: s.replace('"t"', "'t'"), True),
    ("layout", lambda s: s.replace('("t", sa', '(\n        "t",\n        sa'), True),
    (
        "the order of imports",
        lambda s: s.replace("import sqlalchemy as sa\n", "", 1).replace(
            "from alembic", "import sqlalchemy as sa\nfrom alembic"
        ),
        True,
    ),
    ("another parent", lambda s: s.replace('= "a1"', '= "x1"'), True),
    ("a reason", lambda s: s + 'lossy = "drops x"\n', True),
    ("another type", lambda s: s.replace("Integer", "Text"), False),
    ("another table", lambda s: s.replace('drop_table("t")', 'drop_table("u")'), False),
    ("one more statement", lambda s: s + '    op.drop_table("v")\n', False),
]


def code_checksum(source: str) -> str:
    return checksums.script_checksum(ast.parse(source))


@pytest.mark.parametrize(("edit", "is_same"), [e[1:] for e in EDITS], ids=[e[0] for e in EDITS])
def test_the_checksum_of_the_code_ignores_how_it_is_written_and_where_it_stands(
    edit: object, is_same: bool
) -> None:
    assert callable(edit)
    assert (code_checksum(edit(SOURCE)) == code_checksum(SOURCE)) is is_same


def test_the_content_of_a_file_holds_its_sql_both_ways(tmp_path: Path) -> None:
    (tmp_path / "b1.py").write_text(SOURCE)
    found = content.read_content(Project(Path(), versions=(tmp_path,)), "b1")
    assert "CREATE TABLE t" in (found.upgrade_sql or "")
    assert "DROP TABLE t" in (found.downgrade_sql or "")
    with pytest.raises(LookupError):
        content.read_content(Project(Path(), versions=(tmp_path,)), "zz")


def test_an_edit_within_a_second_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "b1.py"
    for kind in ("Integer", "Boolean"):
        path.write_text(SOURCE.replace("Integer", kind))
        assert kind.upper() in (content.content_at(path).upgrade_sql or "")


@pytest.mark.parametrize(
    "body",
    [
        "op.get_bind().execute(sa.text('SELECT 1')).one()",
        "import uuid; op.execute(f'-- {uuid.uuid4()}')",
    ],
)
def test_sql_that_needs_a_database_or_comes_out_differently_is_not_known(
    tmp_path: Path, body: str
) -> None:
    path = tmp_path / "b1.py"
    path.write_text(SOURCE.replace('op.drop_table("t")', body))
    found = content.content_at(path)
    assert (found.downgrade_sql, found.sql_checksum) == (None, None)
    assert found.upgrade_sql is not None


@pytest.mark.parametrize(
    ("line", "leans"),
    [
        ("import datetime", False),
        ("from sqlalchemy.dialects import postgresql", False),
        ("from app.models import User", True),
        ("from . import helper", True),
        ("import app", True),
        ("from pathlib import Path", True),
        ("SQL = open('x.sql').read()", True),
    ],
)
def test_what_imports_or_reads_other_files_leans_on_them(line: str, leans: bool) -> None:
    assert checksums.leans_on_others(ast.parse(f"{line}\n{SOURCE}")) is leans


def script(**given: object) -> Script:
    fields = {"revision": "b1", "file": "b1.py", "checksum": "raw", "script_checksum": "code"}
    return Script.model_validate(fields | given)


def applied(**given: object) -> AppliedRevision:
    fields = {"revision": "b1", "position": 1, "checksum": "raw", "script_checksum": "code"}
    return AppliedRevision.model_validate(fields | given)


def changed(stored: str | None, current: str | None, renderer: str = "1.0") -> ChangedContent:
    return ChangedContent(
        revision="b1",
        stored=WrittenSql(upgrade=stored, downgrade="", renderer="1.0"),
        current=WrittenSql(upgrade=current, downgrade="", renderer=renderer),
    )


@pytest.mark.parametrize(
    ("recorded", "sql", "expected"),
    [
        ({}, None, "same"),
        ({"checksum": "other"}, None, "cosmetic"),
        ({"checksum": None, "script_checksum": None}, None, "same"),
        ({"checksum": "other", "script_checksum": None}, None, "edited"),
        ({"script_checksum": "other"}, None, "edited"),
        ({"checksum": "other"}, changed("A;\n", "A;\n"), "cosmetic"),
        ({}, changed("A;\n", "B;\n"), "edited"),
        ({}, changed("A;\n", "B;\n", "2.0"), "rendered-otherwise"),
        ({}, changed(None, "B;\n"), "same"),
        ({"checksum": "other"}, changed("A;\n", None), "cosmetic"),
    ],
)
def test_a_file_is_the_same_reformatted_or_edited(
    recorded: dict[str, object], sql: ChangedContent | None, expected: str
) -> None:
    assert integrity.compare(script(), applied(**recorded), sql) == expected


def test_an_edit_shows_the_first_statement_that_differs() -> None:
    stored, current = "BEGIN;\n\nA;\n\nB;\n\nCOMMIT;\n", "BEGIN;\n\nA;\n\nCOMMIT;\n"
    [reason] = integrity.edited(
        [script()], [applied(script_checksum="other")], ["b1"], [changed(stored, current)]
    )
    assert "its upgrade was `B`, and is now nothing there" in reason.message


def test_an_edit_that_shows_in_no_sql_is_named_by_its_checksums() -> None:
    [reason] = integrity.edited([script()], [applied(script_checksum="0ther")], ["b1"])
    assert "content 0ther, now code" in reason.message


@pytest.mark.parametrize(
    ("before", "parents", "after"),
    [
        ('down_revision = "a1"', ("c1",), 'down_revision = "c1"'),
        ("down_revision = 'a1'", ("c1",), "down_revision = 'c1'"),
        ('down_revision: str | None = "a1"', ("c1",), 'down_revision: str | None = "c1"'),
        ('down_revision = "a1"', ("c1", "d1"), 'down_revision = ("c1", "d1")'),
        ('down_revision = (\n    "a1",\n    "b2",\n)', ("c1",), 'down_revision = "c1"'),
        ("down_revision = None", ("c1",), 'down_revision = "c1"'),
        ('down_revision = "a1"', (), "down_revision = None"),
        ('é = "é"; down_revision = "a1"; ü = 1', ("c1",), 'é = "é"; down_revision = "c1"; ü = 1'),
    ],
)
def test_only_the_parent_of_a_moved_revision_is_rewritten(
    before: str, parents: tuple[str, ...], after: str
) -> None:
    source = SOURCE.replace('down_revision = "a1"', before).replace("\n", "\r\n")
    expected = SOURCE.replace('down_revision = "a1"', after).replace("\n", "\r\n")
    expected = expected.replace("Revises: a1", f"Revises: {', '.join(parents)}")
    assert splices.rewrite_down_revision(source, parents) == expected


def test_a_file_without_a_parent_cannot_be_moved() -> None:
    with pytest.raises(InputError, match="no down_revision"):
        splices.rewrite_down_revision("revision = 'a'\n", ("b",))


def test_files_of_one_name_in_two_folders_are_told_apart(tmp_path: Path) -> None:
    folders = tuple(tmp_path / name / "versions" for name in ("shop", "crm"))
    for number, folder in enumerate(folders):
        folder.mkdir(parents=True)
        (folder / "first.py").write_text(f"revision = 'r{number}'\nbranch_labels = 'l{number}'\n")
    (folders[1] / "first.py").write_text("revision = 'r1'\ndepends_on = 'l0'\n")
    project = Project(tmp_path, versions=folders)
    scripts, _ = read_scripts(project)
    assert [s.file for s in scripts] == ["shop/versions/first.py", "crm/versions/first.py"]
    assert scripts[1].depends_on == ("r0",)
    assert find_file(project, "r1") == folders[1] / "first.py"


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "b1.py").write_bytes(b"\xef\xbb\xbf" + SOURCE.encode())
    [found], unreadable = read_scripts(Project(Path(), versions=(tmp_path,)))
    assert not unreadable
    assert found.script_checksum == code_checksum(SOURCE)
