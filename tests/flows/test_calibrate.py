"""The flow that calibrates: what it leaves to read, and what stops it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey
from sqlalchemy import Engine, text

from flows.calibrate import calibrate_experiments
from tasks.errors import InputError, ItemsFailed
from tests.database import calibrated

RATE = "(random() < 0.3)::integer::float8"


def _artifact(key: str) -> str:
    async def read() -> Any:
        async with get_client() as client:
            wanted = ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=[key]))
            return (await client.read_latest_artifacts(artifact_filter=wanted))[0].data

    return str(asyncio.run(read()))


def test_one_that_fails_stops_no_other_and_all_are_told_of(database: Engine) -> None:
    with database.begin() as connection:
        calibrated.build(connection, 300, RATE, name="good", kind="proportion")
        calibrated.build(connection, 50, RATE, name="small", kind="proportion")
        calibrated.build(connection, 300, RATE, name="odd")
        connection.execute(text("UPDATE metric SET kind = 'bogus' WHERE name = 'odd-metric'"))
    with pytest.raises(ItemsFailed, match="odd: odd-metric: UnknownName: metric kind 'bogus'"):
        calibrate_experiments(draws=1_000)
    page = _artifact("calibration")
    assert page.startswith("2 metrics were calibrated: 1 unknown, 1 kept.")
    assert "| good | good-metric | group_sequential | kept |" in page
    assert "units are needed" not in page.split("small-metric is unknown")[0]
    assert "odd: odd-metric failed" in page
    with database.connect() as connection:
        kept = connection.execute(text("SELECT verdict FROM calibration ORDER BY 1")).scalars()
        assert list(kept) == ["kept", "unknown"]


def test_a_metric_needs_its_experiment(database: Engine) -> None:
    with pytest.raises(InputError, match="name that too"):
        calibrate_experiments(metric="spend")
    assert calibrate_experiments() == []
    assert "there was nothing to calibrate" in _artifact("calibration")
