"""The flow that moves traffic: what it leaves for people, and what stops what."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from sqlalchemy import Engine

from flows.allocate import allocate_traffic, balance_traffic
from tasks.errors import ItemsFailed, Refused
from tasks.experiments import steps
from tests.database.bandits import set_policy, start_bandit, visit
from tests.database.experiments import new_run, start
from tests.rows import rows_of

EPOCHS = "SELECT count(*) FROM allocation"


def come(*names: str) -> None:
    for name in names:
        visit(np.random.default_rng(20261121), 300, name)
    with new_run():
        steps.check_experiment_data()  # as the analysis of the hour does


def artifact(key: str) -> str:
    async def read() -> str:
        async with get_client() as client:
            found = await client.read_artifacts(
                artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
            )
            return str(max(found, key=lambda each: str(each.created)).data)

    return asyncio.run(read())


def test_a_run_leaves_what_a_person_can_read_and_a_second_one_moves_nothing(
    database: Engine,
) -> None:
    start_bandit()
    start()
    come("greeting")
    (update,) = allocate_traffic()
    assert (update.outcome, update.epoch) == ("changed", 2)
    page = artifact("traffic")
    assert page.startswith("1 of 1 bandits got another split.")
    assert "| greeting | changed | control " in page
    assert "chance to be best" in artifact("traffic-arms")
    (again,) = allocate_traffic()
    assert (again.outcome, again.code) == ("skipped", "nothing-new")
    assert rows_of(database, EPOCHS) == [(3,)]  # the second one, and each experiment's first
    with pytest.raises(Refused, match="fixed-design"):
        allocate_traffic(experiment="buttons")


def test_a_bandit_that_fails_stops_no_other_and_the_run_names_it(database: Engine) -> None:
    for name in ("bad", "good", "better"):
        start_bandit(name)
    set_policy("bad", {"flor": 0.1})
    come("bad", "good", "better")
    with pytest.raises(ItemsFailed, match="flor") as failed:
        allocate_traffic()
    assert list(failed.value.failures) == ["bad"]
    assert rows_of(database, f"{EPOCHS} WHERE epoch = 2") == [(2,)]


def test_without_a_bandit_there_is_nothing_to_do_and_nothing_to_balance(database: Engine) -> None:
    start()
    assert allocate_traffic() == []
    assert artifact("traffic").startswith("No bandit is active")
    assert balance_traffic() == []
    assert artifact("balance") == "Nothing was to be balanced."
