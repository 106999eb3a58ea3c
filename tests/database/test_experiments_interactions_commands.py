"""The scan as a command: `headway experiment interactions`."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import Engine, text

from tests.database.command_line import Call, headway_fixture
from tests.database.test_experiments_interactions import crossed, two

headway = headway_fixture("experiment")


def test_a_scan_is_made_shown_and_told(headway: Call, database: Engine) -> None:
    assert "there was no scan yet" in headway("interactions")[1]
    with database.connect() as tx:
        two(tx, crossed)
    code, document = headway("interactions", "--scan", "--json")
    scanned = document["result"]
    [pair] = scanned["pairs"]
    assert (code, pair["outcome"]) == (0, "interacts")
    code, document = headway("interactions", "--json")
    assert (code, document["pairs"], document["overlapping"]) == (0, [pair], 1)
    assert document == scanned
    assert "buttons and prices change each other's effect on spend" in headway("interactions")[1]


def test_a_pair_that_cannot_be_read_is_named_and_the_scan_is_made(
    headway: Call, database: Engine
) -> None:
    with database.connect() as tx:
        two(tx, crossed)
        # The second moment of a value that doubles cannot square.
        tx.execute(text("UPDATE unit_value SET value = 1e300 WHERE value > 12"))
        tx.commit()
    code, document = headway("interactions", "--scan", "--json")
    assert code == 1
    assert "pairs of experiments" in json.dumps(document)
    code, document = headway("interactions", "--json")
    assert (document["pairs"], document["overlapping"]) == ([], 1)


@pytest.mark.parametrize("most", ["0", "1001", "many"])
def test_how_many_pairs_is_checked(headway: Call, most: str) -> None:
    assert headway("interactions", "--scan", "--most", most)[0] == 2
