"""What is archived of which table, and by which columns its rows are known again."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.migrations.archive.model import Effect, RestoredPart, Sample
from tasks.migrations.archive.pieces import Column, Piece, Table, part_of, pieces_of
from tasks.migrations.archive.registry import table_name
from tasks.migrations.archive.rows import after, joined
from tasks.migrations.archive.sql import literal, quoted

COLUMNS = ("id", "code", "v", "w", "twice")


def table(name: str = "t", **options: Any) -> Table:
    columns = [
        Column(name=each, type="text", is_native=each != "w", is_generated=each == "twice")
        for each in COLUMNS
    ]
    found = {
        "oid": 1,
        "schema_name": "public",
        "name": name,
        "is_partitioned": False,
        "has_versions": True,
        "hides_rows": False,
        "ancestors": (),
        "columns": columns,
        "keys": (("id",), ("code",)),
    }
    return Table.model_validate(found | options)


def pieces(effect: Effect, *tables: Table) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(each.kind, each.table, each.values) for each in pieces_of(effect, tables)]


T = ("public", "t")


def test_a_dropped_table_is_one_piece_whatever_else_happens_to_it() -> None:
    effect = Effect(dropped_tables=(T,), dml_tables=(T,), dropped_columns=((*T, "v"),))
    assert pieces(effect, table()) == [("table", "t", ("id", "code", "v", "w"))]


def test_rows_and_columns_are_pieces_of_their_own() -> None:
    effect = Effect(
        dml_tables=(T,),
        dropped_columns=((*T, "v"), (*T, "twice"), (*T, "v")),
        narrowed_columns=((*T, "w"),),
    )
    assert pieces(effect, table()) == [
        ("rows", "t", ("id", "code", "v", "w")),
        ("column", "t", ("v",)),  # a generated column comes back by itself
        ("narrowed", "t", ("w",)),
    ]


def test_a_partition_goes_with_what_it_is_part_of() -> None:
    part = table("part", ancestors=(T,))
    effect = Effect(dropped_tables=(T, ("public", "part")))
    assert pieces(effect, table(), part) == [("table", "t", ("id", "code", "v", "w"))]
    alone = Effect(dropped_tables=(("public", "part"),))
    assert pieces(alone, part) == [("table", "part", ("id", "code", "v", "w"))]
    columns = Effect(dropped_columns=((*T, "v"), ("public", "part", "v")))
    assert pieces(columns, table(), part) == [("column", "t", ("v",))]


@pytest.mark.parametrize(
    ("values", "key", "stored"),
    [
        (["v"], ("id",), ["id", "v"]),
        (["id"], ("code",), ["id", "code"]),  # by another key, if the first one goes
        (["id", "code"], (), ["id", "code", "v", "w"]),  # by all that stays
    ],
)
def test_a_row_is_known_by_a_key_that_stays(
    values: list[str], key: tuple[str, ...], stored: list[str]
) -> None:
    piece = part_of(table(), "column", values)
    assert (piece.key, [column.name for column in piece.stored]) == (key, stored)
    assert not {column.name for column in piece.match} & set(values)
    assert piece.can_be_copied_before == bool(key)


@pytest.mark.parametrize("options", [{"has_versions": False}, {"hides_rows": True}, {"keys": ()}])
def test_some_tables_cannot_be_copied_before(options: dict[str, Any]) -> None:
    (piece,) = pieces_of(Effect(dropped_tables=(T,)), [table(**options)])
    assert not piece.can_be_copied_before


def test_types_of_users_are_compared_as_text() -> None:
    piece = Piece(
        kind="column",
        relation=1,
        schema_name="public",
        table="t",
        key=("id", "w"),
        stored=table().columns,
    )
    assert joined(piece) == 't."id" = a."id" AND t."w"::text = a."w"'


def test_an_archive_has_a_name_that_fits() -> None:
    (piece,) = pieces_of(Effect(dropped_tables=(("public", "é" * 31),)), [table("é" * 31)])
    name = table_name("0123abcd", piece, 12345)
    assert name.startswith("0123abcd_public_é")
    assert name.endswith("é_table_12345")
    assert len(name.encode()) <= 63


def test_long_columns_that_begin_alike_are_not_mixed_up() -> None:
    names = [f"{'x' * 62}{end}" for end in "ab"]
    found = {after(Column(name=name, type="text", is_native=True)) for name in names}
    assert len(found) == 2
    assert all(len(each) <= 65 for each in found)


def test_names_and_texts_are_quoted() -> None:
    assert quoted("a b", 'c"d') == '"a b"."c""d"'
    assert literal("it's") == "'it''s'"
    assert literal("a\\'b") == "E'a\\\\\\'b'"


def test_a_part_is_whole_only_if_nothing_is_to_be_told() -> None:
    part = RestoredPart(entry=1, kind="table", schema_name="public", table="t", rows=3)
    assert part.is_whole
    for found in ("added", "deleted", "changed", "conflicts"):
        assert not part.model_copy(update={found: Sample(count=1)}).is_whole
    assert part.model_copy(update={"deleted": Sample(count=2)}).left == 2
