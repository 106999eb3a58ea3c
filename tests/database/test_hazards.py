"""Hazards with squawk beside our rules, with a real catalogue, and with measured statements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

import pytest
from sqlalchemy import Connection, Engine, text

from tasks.migrations.environments import Target
from tasks.migrations.hazards import squawk
from tasks.migrations.hazards.context import gather
from tasks.migrations.hazards.decide import decide
from tasks.migrations.hazards.emitted import from_measured, render
from tasks.migrations.hazards.find import find_hazards
from tasks.migrations.hazards.judge import judge_hazards
from tasks.migrations.hazards.model import Hazard, RevisionSql
from tasks.migrations.hazards.reading import Context
from tasks.migrations.hazards.registry import hazards
from tasks.migrations.hazards.review import review
from tasks.migrations.hazards.scripts import read_script
from tasks.migrations.project import Project
from tasks.migrations.rehearsal.measure import measuring
from tasks.migrations.rehearsal.model import MeasuredStatement
from tests.conftest import created_database
from tests.database.hazard_corpus import CONTEXT, SAFE, UNSAFE, Case

# Between what 40 rows and what 200,000 rows take, on any machine.
BUDGET_MS = 6.0
ROWS = {"small": 40, "big": 200_000}
IN_SQL = [code for code in hazards.names() if hazards.get(code).unsafe[:1].isupper()]


@dataclass(frozen=True)
class Seen:
    """What was measured of one statement."""

    revision: str
    direction: str
    sql: str
    milliseconds: float
    rewrites: tuple[str, ...] = ()
    rows_scanned: dict[str, int] = field(default_factory=dict)
    sqlstate: str | None = None
    position: int = 1


def revision(sql: str, name: str = "r1") -> RevisionSql:
    statements = read_script(sql, in_transaction=True)
    return RevisionSql(revision=name, file=f"{name}.py", statements=statements)


def plan_of(case: Case) -> list[RevisionSql]:
    parts = case.sql.split("---")
    return [revision(part, f"r{number}") for number, part in enumerate(parts, 1)]


def standing(found: tuple[Hazard, ...]) -> set[str]:
    return {h.code for h in found if h.outcome != "dismissed" and h.severity != "advice"}


@pytest.fixture(scope="module")
def corpus() -> dict[str, tuple[Hazard, ...]]:
    """Every case as a plan of its own; squawk is asked once for each."""
    return {case.name: find_hazards(plan_of(case)) for case in [*UNSAFE, *SAFE]}


@pytest.mark.parametrize("case", UNSAFE, ids=lambda case: case.name)
def test_each_dangerous_revision_is_named_by_its_hazards(
    case: Case, corpus: dict[str, tuple[Hazard, ...]]
) -> None:
    assert set(case.codes) - standing(corpus[case.name]) == set()


@pytest.mark.parametrize("case", SAFE, ids=lambda case: case.name)
def test_no_harmless_revision_raises_an_alarm(
    case: Case, corpus: dict[str, tuple[Hazard, ...]]
) -> None:
    assert standing(corpus[case.name]) == set()


def test_the_corpus_is_complete() -> None:
    assert (len(UNSAFE), len(SAFE), len(CONTEXT)) == (33, 17, 6)


@pytest.mark.parametrize("code", IN_SQL)
def test_squawk_never_speaks_twice_of_what_a_rule_says(code: str) -> None:
    found = find_hazards([revision(hazards.get(code).unsafe)])
    places = [(h.position, h.code) for h in found if h.code == code]
    assert len(places) == len(set(places))


def test_what_only_squawk_knows_is_passed_on_as_a_warning() -> None:
    (only,) = find_hazards([revision("DROP VIEW totals")])
    assert (only.code, only.severity, only.source) == ("squawk-ban-drop-view", "warning", "squawk")


def test_squawk_is_asked_once_for_all_revisions(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    run = squawk._run

    def counted(folder: Path, major: int) -> list[dict[str, object]]:
        calls.append(len(list(folder.glob("*.sql"))))
        return run(folder, major)

    monkeypatch.setattr(squawk, "_run", counted)
    plan = [revision("DROP VIEW a", f"r{n}") for n in range(12)]
    assert [h.revision for h in find_hazards(plan)] == [f"r{n}" for n in range(12)]
    assert calls == [12]


def test_without_squawk_nobody_says_that_all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squawk, "_program", lambda: "/nowhere/squawk")
    with pytest.raises(squawk.SquawkFailed, match="could not look at the revisions"):
        find_hazards([revision("SELECT 1")])


def _project(folder: Path, body: str) -> Project:
    versions = folder / "revisions" / "versions"
    versions.mkdir(parents=True)
    head = "import sqlalchemy as sa\nfrom alembic import op\nrevision = 'r1'\n"
    (versions / "r1.py").write_text(f"{head}down_revision = None\n{dedent(body)}", "utf-8")
    return Project(versions.parent)


def test_a_rendered_revision_tells_autocommit_blocks_from_its_own_commits(tmp_path: Path) -> None:
    project = _project(
        tmp_path,
        """
        def upgrade():
            op.add_column("t", sa.Column("a", sa.Text))
            with op.get_context().autocommit_block():
                op.execute("CREATE INDEX CONCURRENTLY i ON t (a); ANALYZE t")
            op.execute("COMMIT")
        def downgrade():
            op.drop_column("t", "a")
        """,
    )
    rendered = render(project, "r1")
    assert [(s.transaction, s.sql.split()[0]) for s in rendered.statements] == [
        (1, "ALTER"),
        (None, "CREATE"),
        (None, "ANALYZE"),
        (2, "COMMIT"),
    ]
    found = find_hazards([rendered], with_squawk=False)
    assert standing(found) == {"autocommit-after-ddl", "transaction-control"}
    assert standing(find_hazards([render(project, "r1", "downgrade")])) == set()


def test_a_revision_that_reads_the_database_is_judged_by_what_it_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "tables.py").write_text("Order = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    project = _project(
        tmp_path,
        """
        from shop.tables import Order
        def upgrade():
            for row in op.get_bind().execute(sa.text("SELECT 1")):
                op.execute(f"DELETE FROM t{row[0]}")
        def downgrade():
            pass
        """,
    )
    rendered = render(project, "r1")
    assert standing(find_hazards([rendered])) == {
        "cannot-be-read-statically",
        "imports-application",
        "irreversible-downgrade",
    }
    seen = from_measured(rendered, [Seen("r1", "upgrade", "DELETE FROM t1", 3.0)])
    assert "delete-without-where" in standing(find_hazards([seen]))
    alone = Seen("r1", "upgrade", "CREATE INDEX CONCURRENTLY i ON t1 (a)", 3.0)
    assert from_measured(rendered, [alone]).statements[0].in_autocommit


@pytest.fixture(scope="module")
def filled(server_url: str) -> Iterator[Engine]:
    with created_database(server_url, "template1") as engine:
        _fill(engine)
        yield engine


def _fill(engine: Engine) -> None:
    with engine.begin() as opened:
        opened.execute(text("CREATE TABLE others (id bigint PRIMARY KEY)"))
        opened.execute(text("INSERT INTO others SELECT generate_series(1, 1000)"))
        for size, rows in ROWS.items():
            opened.execute(
                text(
                    f"CREATE TABLE {size}_t AS SELECT n AS id, 'name ' || n AS name, "
                    "NULL::text AS note, 'short'::varchar(20) AS label, n % 1000 + 1 AS other, "
                    f"NULL::text AS empty, n::integer AS amount FROM generate_series(1, {rows}) n"
                )
            )


@pytest.fixture
def connection(filled: Engine) -> Iterator[Connection]:
    with filled.connect() as opened:
        yield opened  # what a test does is rolled back


def measured(connection: Connection, sql: str, count: int) -> MeasuredStatement:
    """Run the statement for nothing, so many times; the figures of the quickest."""
    tries = []
    for _ in range(count):
        with connection.begin_nested() as trial, measuring(connection, "r1", "upgrade") as trace:
            connection.exec_driver_sql(sql)
            trial.rollback()
        tries.append(trace.statements[0])
    return min(tries, key=lambda each: each.milliseconds)


HARMLESS = {"size": "small", "column": "label", "type": "varchar(80)", "dropped": "empty"}
DANGEROUS = {"size": "big", "column": "amount", "type": "bigint", "dropped": "name"}


@pytest.mark.parametrize("case", CONTEXT, ids=lambda case: case.name)
@pytest.mark.parametrize(("words", "outcome"), [(HARMLESS, "dismissed"), (DANGEROUS, "confirmed")])
def test_what_the_sql_cannot_tell_is_decided_by_the_database(
    connection: Connection, case: Case, words: dict[str, str], outcome: str
) -> None:
    plan = [revision(case.sql.format(**words))]
    (found,) = (h for h in find_hazards(plan) if h.code == case.codes[0])
    assert (found.outcome, found.needs_context) == ("open", True)

    known = find_hazards(plan, gather(connection, plan))
    tries = 7 if outcome == "dismissed" else 1  # what is slow is slow each time
    seen = measured(connection, plan[0].statements[0].sql, tries)
    decided = decide(known, [seen], budget_ms=BUDGET_MS)
    (found,) = (h for h in decided if h.code == case.codes[0])
    assert found.outcome == outcome, found.evidence
    assert found.evidence


def test_a_plan_is_reviewed_as_a_whole(connection: Connection, tmp_path: Path) -> None:
    project = _project(
        tmp_path,
        """
        def upgrade():
            op.create_index("by_name", "big_t", ["name"])
            op.drop_column("big_t", "note")
        def downgrade():
            op.drop_index("by_name")
        """,
    )
    ask = {"measured": [], "approvals": ["index-not-concurrent@r1"], "actor": "ada"}
    evidence = review(connection, Target("prod", "", project), ["r1"], **ask)  # type: ignore[arg-type]
    verdict = judge_hazards(evidence)
    assert (verdict.verdict, verdict.details["dismissed"]) == ("allowed", 1)  # no value in note
    evidence = review(connection, Target("prod", "", project), ["r1"])
    assert [r.code for r in judge_hazards(evidence).reasons] == ["index-not-concurrent"]
    quick = [Seen("r1", "upgrade", "CREATE INDEX by_name ON big_t (name)", 3.0)]
    evidence = review(connection, Target("prod", "", project), ["r1"], measured=quick, data="full")
    assert judge_hazards(evidence).verdict == "allowed"


def test_a_view_on_a_dropped_column_is_named_and_blocks(connection: Connection) -> None:
    connection.execute(text("CREATE VIEW names AS SELECT name FROM big_t"))
    plan = [revision("ALTER TABLE big_t DROP COLUMN name")]
    found = find_hazards(plan, gather(connection, plan))
    (used,) = (h for h in found if h.code == "drop-has-dependents")
    assert used.severity == "critical"
    assert "big_t.name is used by view names" in used.message

    first_the_view = [revision("DROP VIEW names; ALTER TABLE big_t DROP COLUMN name")]
    known = gather(connection, first_the_view)
    assert "drop-has-dependents" not in standing(find_hazards(first_the_view, known))


def test_the_catalogue_knows_what_depends_on_a_table_and_its_columns(
    connection: Connection,
) -> None:
    for statement in (
        "CREATE TABLE parts (id bigint REFERENCES others)",
        "CREATE MATERIALIZED VIEW copied AS SELECT * FROM others",
        'CREATE TABLE "Odd:Name" ("Some Column" text CHECK ("Some Column" IS NOT NULL))',
        "CREATE TYPE mood AS ENUM ('ok', 'calm')",
    ):
        connection.execute(text(statement))
    plan = [
        revision('DROP TABLE others; ALTER TABLE "Odd:Name" DROP COLUMN "Some Column"'),
    ]
    known = gather(connection, plan)
    assert {(d.kind, d.name) for d in known.dependents} == {
        ("foreign key", "parts.parts_id_fkey"),
        ("materialized view", "copied"),
    }
    column = known.tables['"Odd:Name"'].columns['"Some Column"']
    assert (column.is_proven_not_null, column.has_values) == (True, False)
    assert known.enums["mood"] == ("ok", "calm")
    assert known.tables["others"].primary_key == "others_pkey"
    assert known.server_major >= 15


def test_in_a_database_without_tables_only_what_fails_anywhere_counts(
    empty_database: Engine,
) -> None:
    script = "DROP TABLE a CASCADE; GRANT ALL ON b TO public; CREATE INDEX CONCURRENTLY i ON c (d)"
    with empty_database.begin() as fresh:
        fresh.execute(text("CREATE TABLE alembic_version (version_num text)"))
        known = gather(fresh, [revision(script)])
        assert standing(find_hazards([revision(script)], known)) == {"concurrently-in-transaction"}
        fresh.execute(text("CREATE TABLE anything (a int)"))
        assert not gather(fresh, [revision(script)]).is_fresh


def test_rows_with_an_enum_value_that_goes_are_counted(connection: Connection) -> None:
    connection.execute(text("CREATE TYPE mood AS ENUM ('ok', 'calm')"))
    plan = [revision("ALTER TYPE mood RENAME TO old; CREATE TYPE mood AS ENUM ('ok')")]
    found = find_hazards(plan, gather(connection, plan))
    (removed,) = (h for h in found if h.code == "enum-value-removed")
    assert (removed.outcome, removed.evidence) == ("dismissed", "no row has a value that goes")

    connection.execute(text("CREATE TABLE people AS SELECT 'calm'::mood AS mood"))
    found = find_hazards(plan, gather(connection, plan))
    (removed,) = (h for h in found if h.code == "enum-value-removed")
    assert removed.outcome == "open"
    assert "mood is made anew without calm (1 rows of people)" in removed.message


def test_without_rows_in_the_copy_nothing_is_decided(connection: Connection) -> None:
    plan = [revision("CREATE INDEX by_name ON big_t (name)")]
    seen = Seen("r1", "upgrade", plan[0].statements[0].sql, 1.0)
    (open_,) = decide(find_hazards(plan, Context()), [seen], data="none")
    assert open_.outcome == "open"
