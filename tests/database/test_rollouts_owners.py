"""Whose a version is, whose winner a rollout is, and that what is over is not started again."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, text

from tasks.errors import Refused
from tasks.rollouts.changes import drafts, manual
from tasks.rollouts.changes.lineage import roll_out_winner
from tasks.rollouts.definition.plan import RolloutEdit, RolloutPlan
from tests.database.rollouts import begin
from tests.database.test_winner_rollouts import choose, started
from tests.rows import rows_of

COMPLETE = "UPDATE rollout SET state = 'completed', percentage = 100, finished_at = now()"
FOREIGN = "version-of-another-organization"


def refused(database: Engine, action: Any, *values: Any) -> dict[str, str]:
    with pytest.raises(Refused) as caught, database.begin() as tx:
        action(tx, *values, "ada", "because")
    return {reason.code: reason.message for reason in caught.value.reasons}


def plan(name: str, version: str = "v2", **fields: Any) -> RolloutPlan:
    return RolloutPlan.model_validate({"name": name, "model_version": version, **fields})


@pytest.mark.parametrize(("owner", "other"), [("A", "B"), ("A", None), (None, "B")])
def test_nobody_starts_drafts_or_edits_a_version_of_another_organization(
    database: Engine, owner: str | None, other: str | None
) -> None:
    begin(database, organization=owner)
    with database.begin() as tx:
        tx.execute(text(COMPLETE))
        drafts.create(tx, plan("else", "v3", organization=other), "ada", "because")
    for action in (manual.start, drafts.create):
        told = refused(database, action, plan("second", organization=other))
        assert set(told) == {FOREIGN}
        assert "'rollout'" in told[FOREIGN]
        assert "another name" in told[FOREIGN]
    edit = RolloutEdit(model_version="v2")
    assert set(refused(database, drafts.edit, "else", edit)) == {FOREIGN}
    assert rows_of(database, "SELECT count(*) FROM rollout WHERE model_version = 'v2'") == [(1,)]
    begin(database, name="next", organization=owner)


def test_a_draft_takes_no_version_but_does_not_start_where_one_did(database: Engine) -> None:
    with database.begin() as tx:
        drafts.create(tx, plan("theirs", organization="B"), "ada", "because")
    begin(database, organization="A")
    assert set(refused(database, manual.start_draft, "theirs", None)) >= {FOREIGN}


def test_what_was_rolled_back_is_not_started_again_by_its_name(database: Engine) -> None:
    begin(database)
    with database.begin() as tx:
        manual.roll_back(tx, "rollout", "ada", "because")
    told = refused(database, manual.start, plan("rollout"))
    assert "it is over" in told["finished"]
    assert "another name" in told["finished"]
    assert rows_of(database, "SELECT cause FROM rollout_change") == [
        ("start",),
        ("manual_rollback",),
    ]
    assert not begin(database, name="again").is_noop


def test_a_rollout_follows_the_winner_of_its_experiment_and_that_version_alone(
    database: Engine,
) -> None:
    started("select")
    red = {"experiment": "buttons", "variant": "red"}
    assert set(refused(database, drafts.create, plan("r", "red-v2", **red))) == {"not-the-winner"}
    assert set(refused(database, manual.start, plan("r", "other", **red))) == {
        "not-the-winner",
        "another-version",
    }
    choose()
    told = refused(database, manual.start, plan("r", "other", **red))
    assert "'red-v2'" in told["another-version"]
    assert set(told) == {"another-version"}
    blue = {"experiment": "buttons", "variant": "control"}
    told = refused(database, drafts.create, plan("r", "v1", **blue))
    assert "'red'" in told["not-the-winner"]
    with database.begin() as tx:
        drafts.create(tx, plan("r", "red-v2", **red), "ada", "because")
    told = refused(database, drafts.edit, "r", RolloutEdit(model_version="other"))
    assert set(told) == {"another-version"}


def test_the_rollout_of_a_winner_belongs_to_its_experiments_organization(
    database: Engine,
) -> None:
    started("roll_out", organization="shop")
    begin(database, name="before", version="red-v2", organization="shop")
    with database.begin() as tx:
        manual.roll_back(tx, "before", "ada", "because")
    choose()
    with database.begin() as tx:
        roll_out_winner(tx, "buttons", "headway")
    found = "SELECT name, organization, state::text FROM rollout ORDER BY id DESC LIMIT 1"
    assert rows_of(database, found) == [("buttons-red", "shop", "running")]


def test_a_winner_whose_version_is_another_organizations_gets_no_rollout(
    database: Engine,
) -> None:
    started("roll_out")
    begin(database, name="theirs", version="red-v2", organization="shop")
    choose()
    with database.begin() as tx:
        roll_out_winner(tx, "buttons", "headway")
    assert rows_of(database, "SELECT name FROM rollout") == [("theirs",)]
    said = "SELECT verdict, reasons::text FROM headway.decision WHERE rule = 'rollout-of-winner'"
    [(verdict, reasons)] = rows_of(database, said)
    assert (verdict, FOREIGN in reasons) == ("none", True)
