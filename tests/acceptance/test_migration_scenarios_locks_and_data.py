"""What a migration does about locks and rows, from the first look to the last report.

What the single steps do is in tests/database; here whole runs are, as a person starts them.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from flows.cli import main
from flows.migrate import (
    apply_migrations,
    roll_back_migrations,
)
from flows.pipeline import run_by_ledger
from tasks import retries
from tasks.errors import InputError, LockNotAcquired, Refused
from tasks.migrations.report import MigrationResult
from tasks.migrations.timeline import read_history
from tasks.settings import load_settings
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


TABLE = (["CREATE TABLE t (id int PRIMARY KEY, n int, c text)"], ["DROP TABLE t"])
QUICK: dict[str, Any] = {"rehearse": False}


def test_held_table_fails_soon_and_names_who_holds_it(
    project: AlembicProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S25: given up within the lock timeout, tried again a few times, the blocker named."""
    monkeypatch.setenv("HEADWAY_LOCK_TIMEOUT_SECONDS", "0.1")
    monkeypatch.setattr(retries, "FIRST_DELAY_SECONDS", 0.05)
    load_settings.cache_clear()
    project.revision("r1", None, *TABLE)
    upgrade(**QUICK)
    project.revision("r2", "r1", ["ALTER TABLE t ADD x int"], ["ALTER TABLE t DROP x"])
    with project.engines["dev"].connect() as holder:
        holder.execute(text("LOCK TABLE t IN ACCESS SHARE MODE"))
        pid = holder.scalar(text("SELECT pg_backend_pid()"))
        with pytest.raises(LockNotAcquired, match=f"{pid}"):
            upgrade(**QUICK)
    assert read_history("dev")[0].outcome == "failed"
    assert [moved.outcome for moved in upgrade(**QUICK).moved] == ["done"]


def test_deadlock_is_tried_again_as_a_whole(project: AlembicProject) -> None:
    """S27: the revision that was the victim runs once more, from its beginning."""
    project.revision("r1", None, [*TABLE[0], "CREATE SEQUENCE tries"], [])
    upgrade(**QUICK)
    victim = "DO $$ BEGIN IF nextval('tries') = 1 THEN RAISE SQLSTATE '40P01'; END IF; END $$"
    up = ["CREATE TABLE u (id int)", victim, "CREATE TABLE w (id int)"]
    project.revision("r2", "r1", up, ["DROP TABLE u", "DROP TABLE w"])
    assert [moved.outcome for moved in upgrade(**QUICK).moved] == ["done"]
    done = "SELECT count(*) FROM headway.migration_run WHERE revision = 'r2' AND outcome = 'done'"
    assert project.rows("dev", done) == [(1,)]
    assert project.rows("dev", "SELECT last_value FROM tries") == [(2,)]


def test_two_runs_at_once_send_the_ddl_once(project: AlembicProject) -> None:
    """S28: the database, not Prefect's state, keeps a second try from the DDL."""
    project.revision("r1", None, ["SELECT pg_sleep(0.5)", *TABLE[0]], TABLE[1])
    with ThreadPoolExecutor() as pool:
        both = [pool.submit(upgrade, **QUICK) for _ in range(2)]
        outcomes = [[moved.outcome for moved in each.result().moved] for each in both]
    assert sorted(outcomes) in ([[], ["done"]], [["already"], ["done"]])
    assert project.rows("dev", "SELECT count(*) FROM headway.migration_run") == [(1,)]


def test_read_only_database_is_refused(project: AlembicProject) -> None:
    """S30: refused before anything is done. S31: so is an extension that the server lacks."""
    project.revision("r1", None, *TABLE)
    project.revision("r2", "r1", ["CREATE EXTENSION no_such_thing"], [])
    assert "extension-missing" in refused(apply_migrations)
    name = project.engines["dev"].url.database
    project.execute("dev", f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    assert "read-only" in refused(apply_migrations)
    assert project.rows("dev", "SELECT to_regclass('t')") == [(None,)]


def test_rows_in_the_way_are_refused_with_their_keys(project: AlembicProject) -> None:
    """S32, S33: null, orphaned, doubled and too large values: how many, and which."""
    project.revision("r1", None, [*TABLE[0], "CREATE TABLE p (id int PRIMARY KEY)"], [])
    upgrade(**QUICK)
    project.execute("dev", "INSERT INTO t VALUES (1, 70000, NULL), (2, 1, 'x'), (3, 1, 'x')")
    demands = [
        "ALTER TABLE t ALTER c SET NOT NULL",
        "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (n) REFERENCES p (id)",
        "ALTER TABLE t ADD CONSTRAINT u UNIQUE (c)",
        "ALTER TABLE t ALTER n TYPE smallint",
    ]
    project.revision("r2", "r1", demands, [])
    reasons = refused(apply_migrations)
    assert "no value, for example (1)" in reasons["null-values"]
    assert "3 rows point to nothing, for example (1), (2), (3)" in reasons["orphan-rows"]
    assert "for example (x)" in reasons["duplicate-values"]
    assert "a value that does not fit, for example (1)" in reasons["values-do-not-fit"]
    assert project.heads("dev") == ["r1"]


def test_table_that_the_upgrade_made_comes_back_whole(project: AlembicProject) -> None:
    """S35: rows, sequence, comment, index and grants."""
    project.revision("r1", None, [], [], constants="irreversible = 'nothing to undo'")
    made = [
        "CREATE TABLE t (id serial PRIMARY KEY, c text)",
        "CREATE INDEX ix ON t (c)",
        "COMMENT ON TABLE t IS 'things'",
    ]
    project.revision("r2", "r1", made, ["DROP TABLE t"])
    upgrade(**QUICK)
    project.execute("dev", "INSERT INTO t (c) SELECT 'c' || g FROM generate_series(1, 9) g")
    project.execute("dev", "DELETE FROM t WHERE id = 9")
    whole = (
        "SELECT (SELECT string_agg(t::text, ',' ORDER BY id) FROM t), "
        "obj_description('t'::regclass), (SELECT last_value FROM t_id_seq), "
        "(SELECT count(*) FROM pg_indexes WHERE tablename = 't')"
    )
    before = project.rows("dev", whole)
    assert roll_back().summary == "dev: r2 rolled back (8 rows archived)"
    assert upgrade().summary == "dev: r2 applied (8 rows brought back)"
    assert project.rows("dev", whole) == before


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
    assert (part.rows, part.added.first_keys, part.deleted.first_keys) == (4, ("9",), ("2",))
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


def test_enum_value_is_added_and_used_in_one_run(project: AlembicProject) -> None:
    """S39: each revision commits by itself."""
    made = ["CREATE TYPE mood AS ENUM ('good')", "CREATE TABLE t (m mood)"]
    project.revision("r1", None, made, [])
    project.revision("r2", "r1", ["ALTER TYPE mood ADD VALUE 'bad' AFTER 'good'"], [])
    project.revision("r3", "r2", ["INSERT INTO t VALUES ('bad')"], ["DELETE FROM t"])
    assert [moved.outcome for moved in upgrade(**QUICK).moved] == ["done"] * 3
    assert project.rows("dev", "SELECT m::text FROM t") == [("bad",)]


def test_column_of_a_view_is_not_dropped(project: AlembicProject) -> None:
    """S41: refused with the dependents by name, also with CASCADE and an approval."""
    project.revision("r1", None, [*TABLE[0], "CREATE VIEW v AS SELECT c FROM t"], [])
    upgrade(**QUICK)
    approve = {"approve": ["drop-column@r2"], **QUICK}
    for words, code in (("", "drop-has-dependents"), (" CASCADE", "drop-cascade")):
        project.revision("r2", "r1", [f"ALTER TABLE t DROP c{words}"], ["ALTER TABLE t ADD c text"])
        reasons = refused(apply_migrations, **approve)
        assert code in reasons
        assert words or "view v" in reasons[code]
    assert project.rows("dev", "SELECT count(*) FROM v") == [(0,)]


def test_reset_needs_the_name_and_is_forbidden_where_protected(
    project: AlembicProject, capsys: pytest.CaptureFixture[str]
) -> None:
    """S42: typed confirmation, a full archive first, forbidden in a protected environment."""
    project.revision("r1", None, *TABLE)
    upgrade(**QUICK)
    project.execute("dev", "INSERT INTO t VALUES (1, 2, 'kept')")
    words = ["migrate", "reset", "--env", "dev", "--actor", "ada", "--reason", "a test", "--json"]

    def ended(*more: str) -> tuple[int, Any]:
        with pytest.raises(SystemExit) as caught:
            main([*words, *more])
        assert isinstance(caught.value.code, int)
        return caught.value.code, json.loads(capsys.readouterr().out)

    assert ended()[0] == 2
    code, document = ended("--confirm", "prod")
    assert (code, document["reasons"][0]["code"]) == (3, "unconfirmed-reset")
    project.configure("dev", is_protected=True)
    code, document = ended("--confirm", "dev")
    assert (code, document["reasons"][0]["code"]) == (3, "reset-forbidden")
    assert project.rows("dev", "SELECT count(*) FROM t") == [(1,)]
    project.configure("dev", is_protected=False)
    assert ended("--confirm", "dev")[0] == 0
    archived = "SELECT row_count FROM headway.archive WHERE revision = 'reset'"
    assert project.rows("dev", archived) == [(1,)]
    assert project.rows("dev", "SELECT to_regclass('t')") == [(None,)]
