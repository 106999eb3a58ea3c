from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from tasks.bootstrap import bootstrap
from tasks.decisions import Verdict
from tasks.migrations import environments
from tasks.migrations.applying import runner
from tasks.migrations.archive import Effect, archive, finish, restore
from tasks.migrations.environments import Target
from tasks.migrations.fingerprint import take
from tasks.migrations.hazards.model import Measured
from tasks.migrations.project import Project
from tasks.migrations.rehearsal.checksums import take_checksums
from tasks.migrations.rehearsal.judge import RehearsalEvidence, judge_rehearsal
from tasks.migrations.rehearsal.measure import measuring
from tasks.migrations.rehearsal.model import MeasuredStatement, Rehearsal, RevisionEffect
from tasks.migrations.rehearsal.rehearse import find_effects, rehearse
from tasks.migrations.rehearsal.report import report
from tests.database.projects import AlembicProject

ROWS = 500
BASE = [
    "CREATE TABLE parent (id int PRIMARY KEY)",
    f"INSERT INTO parent SELECT generate_series(1, {ROWS})",
    "CREATE TABLE t (id int PRIMARY KEY, pid int, name varchar(50), price numeric(10,2))",
    "ALTER TABLE t ADD qty int, ADD note text",
    f"INSERT INTO t SELECT i, i, 'n' || i, i, i, 'x' || i FROM generate_series(1, {ROWS}) AS i",
]
DROP_BASE = ["DROP TABLE t", "DROP TABLE parent"]


@pytest.fixture
def at_base(project: AlembicProject) -> AlembicProject:
    """An environment at revision `a`, with rows."""
    project.revision("a", None, BASE, DROP_BASE)
    _migrate("a")
    return project


def _migrate(*revisions: str) -> None:
    target = _target()
    for revision in revisions:
        with environments.engine(target.url).connect() as connection:
            runner.move(connection, target.project, revision, "upgrade")


def _target() -> Target:
    return environments.find("dev")


def _judge(rehearsal: Rehearsal, budget: float | None = None) -> Verdict:
    return judge_rehearsal(RehearsalEvidence(rehearsal=rehearsal, max_lock_seconds=budget))


def _codes(verdict: Verdict) -> list[str]:
    return [reason.code for reason in verdict.reasons]


# What each statement does to a table with rows: written anew? rows scanned (for the table, and
# for its index)? strongest lock.
FACTS: Sequence[tuple[str, bool, int, str | None]] = [
    ("ALTER TABLE t ALTER name TYPE varchar(80)", False, 0, "AccessExclusiveLock"),
    ("ALTER TABLE t ALTER price TYPE numeric(12,2)", False, 0, "AccessExclusiveLock"),
    ("ALTER TABLE t ADD five int DEFAULT 5", False, 0, "AccessExclusiveLock"),
    ("ALTER TABLE t ALTER name TYPE varchar(40)", True, 2 * ROWS, "AccessExclusiveLock"),
    ("ALTER TABLE t ALTER qty TYPE bigint", True, 2 * ROWS, "AccessExclusiveLock"),
    ("ALTER TABLE t ADD u uuid DEFAULT gen_random_uuid()", True, 2 * ROWS, "AccessExclusiveLock"),
    (
        "ALTER TABLE t ADD g int GENERATED ALWAYS AS (pid * 2) STORED",
        True,
        2 * ROWS,
        "AccessExclusiveLock",
    ),
    ("ALTER TABLE t ADD CONSTRAINT c1 CHECK (qty > 0) NOT VALID", False, 0, "AccessExclusiveLock"),
    ("ALTER TABLE t VALIDATE CONSTRAINT c1", False, ROWS, "ShareUpdateExclusiveLock"),
    ("ALTER TABLE t ADD CONSTRAINT c2 CHECK (qty > -1)", False, ROWS, "AccessExclusiveLock"),
    ("ALTER TABLE t ALTER note SET NOT NULL", False, ROWS, "AccessExclusiveLock"),
    (
        "ALTER TABLE t ADD CONSTRAINT f1 FOREIGN KEY (pid) REFERENCES parent NOT VALID",
        False,
        0,
        "ShareRowExclusiveLock",
    ),
    (
        "ALTER TABLE t ADD CONSTRAINT f2 FOREIGN KEY (pid) REFERENCES parent",
        False,
        ROWS,
        "ShareRowExclusiveLock",
    ),
    ("CREATE INDEX i1 ON t (name)", False, ROWS, "ShareLock"),
    ("UPDATE t SET note = note || '!'", False, ROWS, "RowExclusiveLock"),
    ("DO $$BEGIN EXECUTE 'ALTER TABLE t ADD hidden int'; END$$", False, 0, "AccessExclusiveLock"),
]


def test_each_statement_is_measured_as_postgres_treats_it(empty_database: Engine) -> None:
    url = empty_database.url.render_as_string(hide_password=False)
    with environments.engine(url).connect() as connection:
        for statement in BASE:
            connection.execute(text(statement))
        connection.commit()
        found = [_measure(connection, statement) for statement, *_ in FACTS]
        autocommit = connection.execution_options(isolation_level="AUTOCOMMIT")
        concurrent = _measure(autocommit, "CREATE INDEX CONCURRENTLY i2 ON t (qty)")
    told = [
        (
            each.sql,
            each.rewrites == ("public.t",),
            each.rows_scanned.get("public.t", 0),
            each.locks.get("public.t"),
        )
        for each in found
    ]
    assert told == list(FACTS)
    assert found[14].rows_written == {"public.t": ROWS}
    assert concurrent.rows_scanned["public.t"] >= ROWS  # counted although it committed by itself
    assert concurrent.locks.get("public.t") in (None, "ShareUpdateExclusiveLock")
    hazards_can_read: Measured = concurrent
    assert hazards_can_read.sqlstate is None


def test_a_revision_may_catch_an_error_while_it_is_measured(empty_database: Engine) -> None:
    with (
        empty_database.connect() as connection,
        measuring(connection, "r", "upgrade") as trace,
        connection.begin(),
    ):
        with suppress(DBAPIError), connection.begin_nested():
            connection.execute(text("SELECT 1 / 0"))
        connection.execute(text("CREATE TABLE made (i int)"))
    assert [
        (each.sql, each.sqlstate) for each in trace.statements if "SAVEPOINT" not in each.sql
    ] == [("SELECT 1 / 0", "22012"), ("CREATE TABLE made (i int)", None)]


def _measure(connection: Connection, statement: str) -> MeasuredStatement:
    with measuring(connection, "r", "upgrade") as trace, connection.begin():
        connection.execute(text(statement))
    (found,) = trace.statements
    return found


def test_a_round_trip_tells_what_comes_back_and_what_does_not(at_base: AlembicProject) -> None:
    revise = at_base.revision
    loses = 'lossy = "prices are in the ledger"'
    stays = 'irreversible = "we need it"'
    default = "ALTER TABLE t ALTER qty SET DEFAULT {}".format
    backfill = ["ALTER TABLE t ADD v text", "UPDATE t SET v = name"]
    price = "ALTER TABLE t ADD price numeric(10,2)"
    revise("b", "a", backfill, ["ALTER TABLE t DROP v"])
    revise("c", "b", ["ALTER TABLE t DROP note"], ["ALTER TABLE t ADD note text"])
    revise("d", "c", ["ALTER TABLE t DROP price"], [price], constants=loses)
    revise("e", "d", ["CREATE INDEX ix ON t (qty)"], [])
    revise("f", "e", ["CREATE TABLE g (i int)"], [], constants=stays)
    revise("g", "f", [default(1)], [default(2)])
    revise("h", "g", "pass", "pass")
    found = rehearse(_target(), list("bcdefgh"))
    verdict = _judge(found)
    assert verdict.verdict == "refused"
    assert _codes(verdict) == [
        "round-trip-loses-data",
        "irreversible-downgrade",
        "round-trip-schema-differs",
    ]
    assert "public.t.note" in verdict.reasons[0].message
    assert " e does nothing" in verdict.reasons[1].message
    assert "column public.t.qty: default" in verdict.reasons[2].message
    assert [found.is_lossless(each) for each in "bcdefgh"] == [
        True, False, False, False, False, False, None,
    ]  # fmt: skip
    shown = report(found)
    assert "ACCESS EXCLUSIVE public.t" in shown
    assert "copy of dev (full, 1,001 rows)" in shown
    warnings = " ".join(verdict.details["warnings"])
    assert "as declared: prices are in the ledger" in warnings
    assert "as declared: we need it" in warnings


def test_values_that_come_out_otherwise_the_second_time_are_flagged(
    at_base: AlembicProject,
) -> None:
    at_base.revision(
        "b",
        "a",
        ["ALTER TABLE t ADD r float8, ADD s int", "UPDATE t SET r = random(), s = id"],
        ["ALTER TABLE t DROP r, DROP s"],
    )
    found = rehearse(_target(), ["b"])
    assert found.nondeterministic == ("public.t.r",)
    verdict = _judge(found)
    assert verdict.verdict == "proven"
    assert any("public.t.r" in warning for warning in verdict.details["warnings"])


def test_the_schema_that_is_to_come_is_known_unless_the_copy_is_another(
    at_base: AlembicProject,
) -> None:
    at_base.revision("b", "a", ["CREATE TABLE w (id bigserial)"], ["DROP TABLE w"])
    promised = find_effects(_target(), ["b"], "upgrade").after_hash
    url = at_base.engines["dev"].url
    at_base.execute(
        "dev",
        "CREATE ROLE rehearser LOGIN CREATEDB PASSWORD 'rehearser'",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO rehearser",
    )
    try:
        modest = url.set(username="rehearser", password="rehearser").render_as_string(False)
        found = find_effects(replace(_target(), url=modest), ["b"], "upgrade")
    finally:
        at_base.execute("dev", "DROP OWNED BY rehearser", "DROP ROLE rehearser")
    assert found.failure is None
    assert found.after_hash is None
    _migrate("b")
    with environments.engine(_target().url).connect() as connection:
        assert take(connection).hash == promised


SCRATCHES = "SELECT datname FROM pg_database WHERE datname ~ 'scratch' ORDER BY 1"


def test_a_failing_statement_is_a_verdict_and_the_target_stays_as_it_was(
    at_base: AlembicProject,
) -> None:
    at_base.revision("b", "a", ["ALTER TABLE t ADD v text"], ["SELECT 1 / 0"])
    at_base.revision("c", "b", ["DELETE FROM t", "INSERT INTO parent VALUES (1)"], [])
    scratches = at_base.rows("dev", SCRATCHES)
    with environments.engine(_target().url).connect() as connection:
        before = take(connection), take_checksums(connection)
        found = rehearse(_target(), ["b", "c"])
        assert (take(connection), take_checksums(connection)) == before
    (reason,) = _judge(found).reasons
    assert reason.code == "rehearsal-failed"
    assert "INSERT INTO parent VALUES (1)" in reason.message
    assert "SQLSTATE 23505" in reason.message
    found = rehearse(_target(), ["b"])
    assert _codes(_judge(found)) == ["irreversible-downgrade"]
    assert found.is_lossless("b") is None
    # A killed run of another test may have left its own, or have it taken away meanwhile.
    assert {*at_base.rows("dev", SCRATCHES)} <= {*scratches}


def test_a_lock_longer_than_the_budget_refuses_the_plan(at_base: AlembicProject) -> None:
    at_base.revision(
        "b", "a", ["ALTER TABLE t ADD v text", "SELECT pg_sleep(0.15)"], ["ALTER TABLE t DROP v"]
    )
    at_base.configure("dev", rehearsal_data="sample", sample_rows=10)
    found = rehearse(_target(), ["b"])
    assert 150 <= found.effects[0].lock_ms["public.t"] < 3000
    assert _judge(found, 30).verdict == "proven"
    verdict = _judge(found, 0.1)
    assert _codes(verdict) == ["lock-budget-exceeded"]
    assert "public.t" in verdict.reasons[0].message
    assert "sample" in verdict.reasons[0].message


def test_effects_of_a_downgrade_are_found_without_rows(at_base: AlembicProject) -> None:
    at_base.revision(
        "b",
        "a",
        [
            "CREATE TYPE mood AS ENUM ('sad', 'ok')",
            "CREATE TABLE w (id serial PRIMARY KEY, m mood)",
            "CREATE TABLE x (id bigserial, wid int REFERENCES w ON DELETE CASCADE)",
            "CREATE TABLE y (k int) PARTITION BY LIST (k)",
            "CREATE TABLE y1 PARTITION OF y DEFAULT",
            "CREATE TABLE zz (i int)",
            "CREATE SEQUENCE s",
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
            "CREATE TRIGGER r AFTER DELETE ON x FOR EACH ROW EXECUTE FUNCTION f()",
            "ALTER TABLE t ALTER qty TYPE bigint, ALTER name TYPE varchar(80), ADD v text",
            "ALTER TABLE t RENAME note TO remark",
        ],
        [
            "ALTER TABLE t RENAME remark TO note",
            "ALTER TABLE t ALTER qty TYPE int, ALTER name TYPE varchar(50), DROP v",
            "ALTER TABLE t ALTER price TYPE numeric(14,2)",
            "DROP SEQUENCE s",
            "TRUNCATE zz",
            "DROP TABLE y",
            "DELETE FROM w WHERE id < 10",
            "ALTER TYPE mood RENAME TO old",
            "CREATE TYPE mood AS ENUM ('ok')",
            "ALTER TABLE w ALTER m TYPE mood USING m::text::mood",
            "DROP TYPE old",
        ],
    )
    _migrate("b")
    found = find_effects(_target(), ["b"], "downgrade")
    assert found.failure is None
    (effect,) = found.effects
    assert effect.dropped_tables == (("public", "y"),)
    assert effect.dropped_columns == (("public", "t", "v"),)
    assert effect.narrowed_columns == (("public", "t", "name"), ("public", "t", "qty"))
    assert effect.type_changes["public.t.price"] == ("numeric(10,2)", "numeric(14,2)")
    assert effect.dml_tables == (("public", "w"), ("public", "x"), ("public", "zz"))
    assert effect.triggered_tables == (("public", "x"),)
    assert any("triggers of public.x" in note for note in found.notes)
    assert effect.truncated_tables == (("public", "zz"),)
    assert effect.removed_enum_values == (("public", "mood", "sad"),)
    assert effect.dropped_sequences == (("public", "s"),)
    assert found.seconds < 10


def _keep(connection: Connection, project: Project, revision: str, effect: RevisionEffect) -> None:
    """A downgrade that archives what it takes away."""
    named = {name: getattr(effect, name) for name in Effect.model_fields}
    with connection.begin():
        kept = archive(connection, "dev", revision, Effect(**named), None)
        runner.move(connection, project, revision, "downgrade")
        finish(connection, kept)


def _restore(connection: Connection, project: Project, revision: str) -> None:
    with connection.begin():
        runner.move(connection, project, revision, "upgrade")
        restore(connection, "dev", revision)


def test_a_downgrade_that_archives_is_proven_to_bring_everything_back(
    at_base: AlembicProject,
) -> None:
    at_base.revision(
        "b",
        "a",
        [
            "CREATE TABLE w (id serial PRIMARY KEY, tid int REFERENCES t)",
            "ALTER TABLE t ADD v text",
        ],
        ["DROP TABLE w", "ALTER TABLE t DROP v", "UPDATE t SET note = 'gone' WHERE id < 10"],
    )
    with environments.engine(_target().url).begin() as connection:
        bootstrap(connection)
    _migrate("b")
    at_base.execute(
        "dev", "UPDATE t SET v = 2 * id", "INSERT INTO w (tid) SELECT id FROM t WHERE id > 9"
    )
    plain = rehearse(_target(), ["b"], "downgrade")
    assert _codes(_judge(plain)) == ["round-trip-loses-data"]
    assert {"public.t.v", "public.t.note"} < set(plain.round_trips[0].lost or ())
    kept = rehearse(_target(), ["b"], "downgrade", upgrade=_restore, downgrade=_keep)
    assert kept.failure is None
    assert kept.round_trips[0].lost == ()
    assert _judge(kept).verdict == "proven"
    assert kept.is_lossless("b") is True
    assert kept.effects[0].lock_ms["public.t"] > 0
    with environments.engine(_target().url).connect() as connection:
        _keep(connection, _target().project, "b", kept.effects[0])
    forth = rehearse(_target(), ["b"], upgrade=_restore, downgrade=_keep)
    assert forth.nondeterministic == ()  # rows come back each time
    assert _judge(forth).verdict == "proven"
    assert "public.t" in forth.effects[0].lock_ms
    assert "public.w" not in forth.effects[0].lock_ms  # nobody waits for what is only being made
