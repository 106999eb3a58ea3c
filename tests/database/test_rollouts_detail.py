"""What is read of rollouts in detail."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tasks.errors import NotFound
from tasks.rollouts.reporting.detail import RolloutDetail, read_details
from tests.database.rollouts import an_hour, begin, statements


def read(database: Engine, names: list[str]) -> list[RolloutDetail]:
    with database.connect() as connection:
        return read_details(connection, names)


def test_pages_of_many_rollouts_are_read_by_as_many_statements_as_one(database: Engine) -> None:
    names = [begin(database, name=each, version=each).name for each in ("v1", "v2", "v3")]
    an_hour(database)
    one = statements(database, lambda: read(database, names[:1]))
    many = statements(database, lambda: read(database, names))
    assert many == one
    found = read(database, names[::-1])
    assert [each.rollout.name for each in found] == names[::-1]
    assert [len(each.checks) for each in found] == [0, 0, 3]
    assert all(len(each.changes) == len(each.moves) == 1 for each in found)
    with pytest.raises(NotFound, match="no rollout named 'v8', 'v9'"):
        read(database, ["v1", "v8", "v9"])
