"""What statements demand of rows and of the role, as far as their words tell."""

from __future__ import annotations

import pytest

from tasks.migrations.hazards.model import RevisionSql
from tasks.migrations.hazards.scripts import read_script
from tasks.migrations.hazards.sql import normalise
from tasks.migrations.preflight.clauses import cast_of, type_of, words
from tasks.migrations.preflight.demands import Demand, demands
from tasks.migrations.preflight.rights import needs


def revision(sql: str, name: str = "r1") -> RevisionSql:
    statements = read_script(sql, in_transaction=True)
    return RevisionSql(revision=name, file=f"{name}.py", statements=statements)


def found(sql: str) -> list[Demand]:
    return list(demands([revision(sql)]))


@pytest.mark.parametrize(
    ("expression", "value", "type_name"),
    [
        ("a::int", "a", "int"),
        ("((a)::numeric(5, 2))", "( a )", "numeric ( 5 , 2 )"),
        ("CAST(nullif(a, '') AS date)", "nullif ( a , '' )", "date"),
        ("a::text::mood", "a::text", "mood"),
        ('t."A b"::int', 't."A b"', "int"),
        ("(a + b)::int", "( a + b )", "int"),
        ("(a)::text || (b)::text", "( a )::text || ( b )::text", ""),
        ("a::int + b::int", "a::int + b::int", ""),
        ("NOT a::boolean", "not a::boolean", ""),
        ("NOT (a)::boolean", "not ( a )::boolean", ""),
        ("CAST(a AS int) + CAST(b AS int)", "cast ( a as int ) + cast ( b as int )", ""),
        ("lower(a::text)", "lower ( a::text )", ""),
        ("(a) + (b)", "( a ) + ( b )", ""),
    ],
)
def test_the_outermost_cast_is_taken_off(expression: str, value: str, type_name: str) -> None:
    assert cast_of(normalise(expression)) == (value, type_name)


def test_names_of_a_type_are_one() -> None:
    assert type_of("int8") == "bigint"
    assert type_of("varchar ( 5 )") == "character varying ( 5 )"
    assert type_of("pg_catalog.bool") == "boolean"


def test_words_are_names_as_the_catalogue_has_them() -> None:
    assert {"a", '"B c"', "'x y'"} <= words(normalise('"a" || "B c" || \'x y\''), None)


def test_a_constraint_of_the_plan_is_demanded_where_it_is_validated() -> None:
    add = 'ALTER TABLE t ADD CONSTRAINT "c" CHECK (a > 0) NOT VALID'
    (demand,) = found(f"{add}; ALTER TABLE t VALIDATE CONSTRAINT c")
    assert (demand.kind, demand.predicate) == ("check", "a > 0")
    assert demand.statement == "ALTER TABLE t VALIDATE CONSTRAINT c"
    assert found(add) == []


def test_what_the_plan_has_done_before_counts_across_revisions() -> None:
    plan = [revision("UPDATE t SET a = 1", "r1"), revision("ALTER TABLE t ALTER a SET NOT NULL")]
    (demand,) = demands(plan)
    assert demand.unknown_because == "the plan itself changes rows of t before"
    (other,) = demands([*plan[:1], revision("ALTER TABLE u ALTER a SET NOT NULL")])
    assert other.unknown_because is None
    assert other.written_before == ("t",)


def test_only_what_is_not_plain_reading_hides_what_follows() -> None:
    needs_a = "ALTER TABLE t ALTER a SET NOT NULL"
    for harmless in ("SELECT 1", "SELECT setval('s', 1)", "SET lock_timeout = '1s'"):
        assert found(f"{harmless}; {needs_a}")[0].unknown_because is None
    for opaque in ("SELECT fill()", "CALL fill()", "DO $$ x $$", "SET search_path = other"):
        assert found(f"{opaque}; {needs_a}")[0].unknown_because


def test_the_same_role_is_asked_about_until_another_takes_over() -> None:
    asked = "ALTER TABLE t ADD a int; SET ROLE other; DROP TABLE u"
    assert [(need.kind, need.name) for need in needs([revision(asked)])] == [("relation", "t")]
