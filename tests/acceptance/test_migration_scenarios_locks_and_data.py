"""What a migration does about locks and rows, from the first look to the last report.

What the single steps do is in tests/database; here whole runs are, as a person starts them.
"""

from __future__ import annotations

from typing import Any

import pytest

from flows.migrate import (
    apply_migrations,
    roll_back_migrations,
)
from flows.pipeline import run_by_ledger
from tasks.errors import InputError, Refused
from tasks.migrations.report import MigrationResult
from tasks.migrations.timeline import read_history
from tests.database.projects import AlembicProject

DEV: dict[str, Any] = {"actor": "ada", "reason": "a test", "environment": "dev"}


def upgrade(**asked: Any) -> MigrationResult:
    return run_by_ledger(apply_migrations, {**DEV, **asked})


def roll_back(**asked: Any) -> MigrationResult:
    return run_by_ledger(roll_back_migrations, {**DEV, **asked})


def refused(flow: Any, **asked: Any) -> dict[str, str]:
    """The reasons by code of a run that has to be refused, which is one row of the history."""
    before = len(read_history("dev", 100))
    with pytest.raises(Refused) as caught:
        run_by_ledger(flow, {**DEV, **asked})
    rows = read_history("dev", 100)
    assert [row.outcome for row in rows[: len(rows) - before]] == ["refused"]
    return {reason.code: reason.message for reason in caught.value.reasons}


def test_values_of_a_dropped_column_come_back(project: AlembicProject) -> None:
    """S34: every value back; what was added or deleted in between is reported."""
    project.revision("r1", None, ["CREATE TABLE t (id int PRIMARY KEY)"], ["DROP TABLE t"])
    up = ["ALTER TABLE t ADD note text DEFAULT 'none yet'"]
    project.revision("r2", "r1", up, ["ALTER TABLE t DROP note"])
    upgrade()
    project.execute("dev", "INSERT INTO t SELECT g, 'note ' || g FROM generate_series(1, 5) g")
    gone = roll_back()
    assert gone.summary == "dev: r2 rolled back (5 rows archived)"
    assert "- public.t (note): 5 rows archived" in gone.as_markdown()
    project.execute("dev", "DELETE FROM t WHERE id = 2", "INSERT INTO t VALUES (9)")
    back = upgrade()
    assert back.moved[0].restored is not None
    (part,) = back.moved[0].restored.parts
    assert (part.rows, part.added.keys, part.deleted.keys) == (4, ("9",), ("2",))
    brought = "dev: r2 applied (4 rows brought back, 1 row added since, 1 row deleted since)"
    assert back.summary == brought
    assert "- public.t (note): 4 rows brought back; 1 row added since" in back.as_markdown()
    assert project.rows("dev", "SELECT id, note FROM t ORDER BY id") == [
        *((n, f"note {n}") for n in (1, 3, 4, 5)),
        (9, "none yet"),
    ]


def test_removed_enum_value_is_refused_or_mapped(project: AlembicProject) -> None:
    """S38: refused with counts; with a mapping the value is archived, and comes back."""
    made = ["CREATE TYPE mood AS ENUM ('good')", "CREATE TABLE t (id int PRIMARY KEY, m mood)"]
    project.revision("r1", None, made, ["DROP TABLE t", "DROP TYPE mood"])
    up = "with op.get_context().autocommit_block():\n"
    up += """    op.execute("ALTER TYPE mood ADD VALUE 'bad' AFTER 'good'")"""
    back = [
        "ALTER TYPE mood RENAME TO old_mood",
        "CREATE TYPE mood AS ENUM ('good')",
        "ALTER TABLE t ALTER m TYPE mood USING m::text::mood",
        "DROP TYPE old_mood",
    ]
    project.revision("r2", "r1", up, back)
    upgrade()
    rows = [(1, "good"), (2, "bad"), (3, "bad")]
    project.execute("dev", f"INSERT INTO t VALUES {', '.join(map(str, rows))}")
    reasons = refused(roll_back_migrations)
    assert "2 rows of public.t.m have it" in reasons["enum-value-in-use"]
    assert "--map mood.bad=…" in reasons["enum-value-in-use"]
    assert project.rows("dev", "SELECT * FROM t ORDER BY id") == rows
    with pytest.raises(InputError, match=r"'mood\.sad' does not go, so it maps nothing"):
        roll_back(map_values=["mood.sad=good"])
    assert roll_back(map_values=["mood.bad=good"]).moved[0].outcome == "done"
    assert project.rows("dev", "SELECT DISTINCT m::text FROM t") == [("good",)]
    assert upgrade().summary == "dev: r2 applied (2 rows brought back)"
    assert project.rows("dev", "SELECT id, m::text FROM t ORDER BY id") == rows
