"""Which names Postgres chose, what a difference says, and what the hash is made of."""

from __future__ import annotations

import pytest

from tasks.migrations.fingerprint.compare import compare
from tasks.migrations.fingerprint.majors import is_same_on_other_major
from tasks.migrations.fingerprint.model import Attributes, Difference, Fingerprint, kind_of, name_of
from tasks.migrations.fingerprint.naming import is_chosen_by_postgres

LONG = "a" * 60


def of(**objects: Attributes) -> Fingerprint:
    named = {key.replace("__", " ", 1): found for key, found in objects.items()}
    return Fingerprint(server_major=18, objects=named)


@pytest.mark.parametrize(
    ("name", "kind", "table", "columns", "is_chosen"),
    [
        ("child_pkey", "primary key", "child", ["id"], True),
        ("child_pkey1", "primary key", "child", ["id"], True),
        ("child_pid_fkey", "foreign key", "child", ["pid"], True),
        ("child_a_b_fkey12", "foreign key", "child", ["a", "b"], True),
        ("child_a_b_idx", "index", "child", ["a", "b"], True),
        ("child_qty_check", "check", "child", ["qty"], True),
        ("child_check", "check", "child", ["a", "b"], True),
        ("child_id_seq", "sequence", "child", ["id"], True),
        (f"{'a' * 57}_pkey", "primary key", LONG, ["id"], False),
        (f"{'a' * 58}_pkey", "primary key", LONG, ["id"], True),
        (f"{'a' * 29}_{'b' * 29}_idx", "index", LONG, ["b" * 40], True),
        ("fk_child_pid", "foreign key", "child", ["pid"], False),
        ("child_pid_fkey", "foreign key", "child", ["parent_id"], False),
        ("child_pid_fkey", "foreign key", "children", ["pid"], False),
        ("ix_child_a", "index", "child", ["a"], False),
        ("child_pkey", "unique", "child", ["id"], False),
    ],
)
def test_a_name_is_postgres_own_only_if_postgres_would_choose_it(
    name: str, kind: str, table: str, columns: list[str], is_chosen: bool
) -> None:
    assert is_chosen_by_postgres(name, kind, table, columns) is is_chosen


def test_what_goes_with_its_table_is_not_listed_beside_it() -> None:
    before = of(
        table__t={"owner": "me"},
        column__t_a={"type": "integer", "of": "table t"},
        sequence__t_a={"increment": 1, "of": "column t_a"},
    )
    assert [each.text for each in compare(before, of())] == ["table t is missing"]
    assert [each.text for each in compare(of(), before)] == [
        "table t is there, and no revision made it"
    ]


def test_a_whole_definition_is_only_said_to_differ_where_nothing_more_telling_does() -> None:
    before = of(index__i={"definition": "a", "method": "btree"})
    assert [each.attribute for each in compare(before, of(index__i={"definition": "b"}))] == [
        "method"
    ]
    after = of(index__i={"definition": "b", "method": "btree"})
    assert [each.attribute for each in compare(before, after)] == ["definition"]


def test_a_difference_is_one_line_in_plain_words() -> None:
    difference = Difference(
        object="column t.a", change="changed", attribute="not_null", expected=True, actual=False
    )
    assert difference.text == "column t.a: not null is no, not yes"
    index = Difference(object="index i", change="added", actual={"definition": "CREATE INDEX"})
    assert index.text == "index i is there, and no revision made it"
    assert index.summary == "CREATE INDEX"
    column = Difference(object="column t.a", change="removed", expected={"type": "text"})
    assert (column.text, column.summary) == ("column t.a is missing", "text")
    long = difference.model_copy(update={"actual": "x\n" * 500, "expected": None})
    assert len(long.text) < 220
    assert "\n" not in long.text


def test_the_hash_knows_neither_order_nor_what_is_only_information() -> None:
    one = of(table__t={"owner": "me", "column_order": ["a", "b"]}, view__v={"definition": "x"})
    other = of(view__v={"definition": "x"}, table__t={"column_order": ["b", "a"], "owner": "me"})
    assert one.hash == other.hash
    assert one.hash != of(table__t={"owner": "you"}, view__v={"definition": "x"}).hash
    [difference] = compare(one, other)
    assert difference.is_information


def test_a_fingerprint_comes_back_from_json_as_it_was() -> None:
    one = of(table__t={"owner": "me", "row_security": False, "options": ["fillfactor=70"]})
    assert Fingerprint.model_validate_json(one.model_dump_json()) == one


@pytest.mark.parametrize(
    ("key", "kind", "name"),
    [
        ("table public.t", "table", "public.t"),
        ("materialized view public.m", "materialized view", "public.m"),
        ('column public."odd name".a', "column", 'public."odd name".a'),
    ],
)
def test_a_key_is_a_kind_and_a_name(key: str, kind: str, name: str) -> None:
    assert (kind_of(key), name_of(key)) == (kind, name)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (" SELECT parent.id\n FROM public.parent;", " SELECT id FROM public.parent;", True),
        ("(qty > 5)", " (qty\n > 5)", True),
        ("((a + b) * c)", "(a + (b * c))", False),
        (" SELECT (t.x IS DOCUMENT) AS x FROM t;", " SELECT x IS DOCUMENT AS x FROM t;", True),
        (" SELECT parent.id FROM public.parent;", " SELECT name FROM public.parent;", False),
        (" SELECT a.id FROM a, b;", " SELECT b.id FROM a, b;", False),
        (" SELECT a.id FROM a;", " SELECT id FROM b;", False),
    ],
)
def test_majors_may_differ_in_how_they_print_but_not_in_what(
    one: str, other: str, is_same: bool
) -> None:
    assert is_same_on_other_major("definition", one, other) is is_same
    assert is_same_on_other_major("labels", one, other) is False
    assert is_same_on_other_major("body", one, other) is False
    parsed = [f"BEGIN ATOMIC\n{text}\nEND" for text in (one, other)]
    assert is_same_on_other_major("body", *parsed) is is_same
