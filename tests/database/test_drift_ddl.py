"""The SQL between two fingerprints does what it says: tried both ways for every kind of drift."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from tasks.migrations.drift.ddl import write
from tasks.migrations.drift.running import executable
from tasks.migrations.fingerprint import Fingerprint, compare, take
from tests.database.test_fingerprint import (
    DRIFTS,
    EVERY_KIND,
    INFORMATIONAL,
    MORE,
    WITHOUT_EXTENSION,
    World,
    database_on,
)

# What a fingerprint cannot be turned into: the values of an enum that move or go, and an index
# that is broken.
BY_HAND_TO_ADOPT = {"index INVALID", "enum values reordered"}
BY_HAND_TO_REVERT = {"enum values reordered", "enum value added"}


@pytest.fixture(scope="module")
def world(server_url: str) -> Iterator[World]:
    with database_on(server_url) as engine:
        yield World(engine)


def left_after(connection: Connection, before: Fingerprint, after: Fingerprint) -> list[str]:
    """What still differs once the statements between the two have run."""
    ddl = write(before, after)
    assert ddl.by_hand == ()
    for statement in ddl.statements:
        connection.execute(executable(statement))
    found = compare(after, take(connection))
    return [each.text for each in found if not each.is_information]


@pytest.mark.parametrize("name", [n for n in DRIFTS if n not in INFORMATIONAL])
def test_every_kind_of_drift_can_be_written_as_sql_both_ways(world: World, name: str) -> None:
    with world.changed(DRIFTS[name]) as connection:
        drifted = take(connection)
        if name not in BY_HAND_TO_REVERT:
            assert left_after(connection, drifted, world.base) == []
        else:
            assert write(drifted, world.base).by_hand
    with world.changed("SELECT 1") as connection:
        if name not in BY_HAND_TO_ADOPT:
            assert left_after(connection, world.base, drifted) == []
        else:
            assert write(world.base, drifted).by_hand


def test_a_whole_schema_can_be_written_and_taken_away_again(server_url: str) -> None:
    with database_on(server_url) as full, database_on(server_url) as nothing:
        built, empty = (
            World(full, WITHOUT_EXTENSION + MORE + EVERY_KIND),
            World(nothing, "SELECT 1"),
        )
        with empty.changed("SELECT 1") as connection:
            assert left_after(connection, empty.base, built.base) == []
        with built.changed("SELECT 1") as connection:
            assert left_after(connection, built.base, empty.base) == []


def test_a_view_that_cannot_be_replaced_is_made_anew_with_the_views_on_top_of_it(
    world: World,
) -> None:
    views = """CREATE VIEW low AS SELECT {} FROM parent; GRANT SELECT ON low TO app_ro;
               CREATE MATERIALIZED VIEW on_top AS SELECT id FROM low; CREATE INDEX ON on_top (id);
               COMMENT ON MATERIALIZED VIEW on_top IS 'kept'"""
    with world.changed(views.format("id, name, qty")) as connection:
        wide = take(connection)
    with world.changed(views.format("qty, id")) as connection:
        narrow = take(connection)
        assert left_after(connection, narrow, wide) == []
        assert left_after(connection, wide, narrow) == []
