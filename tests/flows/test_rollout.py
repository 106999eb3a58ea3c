from __future__ import annotations

import asyncio
import base64
import logging
import re
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from sqlalchemy import Engine, text

from flows.pipeline import run_by_ledger
from flows.rollout import progress_rollouts, roll_back_rollout, start_rollout, update_rollout
from tasks.errors import InputError, ItemsFailed, Refused
from tasks.rollouts.changes.outcome import ManualOutcome
from tasks.rollouts.definition.plan import RolloutEdit
from tests.database.rollouts import FAILING, hours_pass, standing, traffic
from tests.rows import rows_of

BY: dict[str, Any] = {"actor": "ada", "reason": "because"}


def begin(name: str, version: str = "v2") -> ManualOutcome:
    return start_rollout(name=name, model_version=version, actor="ada", reason="because")


def artifact(key: str) -> str:
    async def latest() -> str:
        async with get_client() as client:
            found = await client.read_artifacts(
                artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
            )
            return str(max(found, key=lambda each: str(each.created)).data)

    return asyncio.run(latest())


def test_a_bad_version_goes_to_nobody_by_the_hourly_run(
    database: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    begin("ranker")
    hours_pass(database, 2)
    traffic(database)
    [advanced] = progress_rollouts()
    assert (advanced.verdict, advanced.percentage) == ("advance", 25)
    hours_pass(database, 1)
    traffic(database, FAILING)
    with caplog.at_level(logging.WARNING):
        [rolled_back] = progress_rollouts()
    assert (rolled_back.verdict, standing(database)) == ("rollback", (0, "rolled_back"))
    assert any(
        "error_rate = 0.0" in line and "window" in line and "n=5000" in line
        for line in caplog.messages
    )
    assert progress_rollouts() == []


def test_the_hourly_run_leaves_a_report_with_picture_and_checks(database: Engine) -> None:
    begin("pictured")
    started = artifact("rollout-pictured")
    assert "By **ada**: because" in started
    assert started.count("svg+xml;base64,") == 2  # the stages, and what happened over time
    hours_pass(database, 2)
    traffic(database)
    progress_rollouts(slot="2020-02-20T14:00Z")
    report = artifact("rollouts")
    assert "# Rollouts at 2020-02-20T14:00Z" in report
    assert "## pictured: advance" in report
    assert re.search(r"\| error_rate \| 0\.0\d+ \| (<|&lt;) 0\.05 \| 5000 \| ✅", report)
    [picture] = re.findall(r"svg\+xml;base64,([^)]+)\)", report)
    assert base64.b64decode(picture).decode().count("<rect x=") == 5
    page = artifact("rollout-pictured")
    assert "## Last decision: advance" in page
    assert re.search(r"\| ✅ threshold: error_rate .* \| .* sequential: ", page)
    [_, timeline] = re.findall(r"svg\+xml;base64,([^)]+)\)", page)
    assert "error_rate" in base64.b64decode(timeline).decode()


def test_the_same_slot_again_does_nothing(database: Engine) -> None:
    begin("ranker")
    hours_pass(database, 9)
    traffic(database)
    verdicts = [progress_rollouts(slot="2020-02-20T14:00Z")[0].verdict for _ in range(2)]
    assert verdicts == ["advance", "skip"]


def test_a_rollout_that_cannot_be_looked_at_stops_no_other(database: Engine) -> None:
    for name in ("first", "broken", "last"):
        begin(name, f"version of {name}")
    with database.begin() as tx:
        tx.execute(text("UPDATE rollout SET policy = '{\"x\": 1}' WHERE name = 'broken'"))
    state = progress_rollouts(return_state=True)
    assert state.is_failed()
    with pytest.raises(ItemsFailed, match="1 rollouts failed: broken"):
        state.result()
    assert rows_of(database, "SELECT DISTINCT rollout_id FROM health_check ORDER BY 1") == [
        (1,),
        (3,),
    ]


def test_a_rollback_by_hand_asks_for_actor_and_reason_and_may_be_repeated(
    database: Engine,
) -> None:
    begin("ranker")
    with pytest.raises(InputError, match="actor"):
        run_by_ledger(roll_back_rollout, {"rollout": "ranker", "reason": "because"})
    for reason in ("", "  "):
        with pytest.raises(InputError, match="reason"):
            run_by_ledger(roll_back_rollout, {"rollout": "ranker", "actor": "a", "reason": reason})
    assert [roll_back_rollout("ranker", **BY).is_noop for _ in range(2)] == [False, True]
    audit = rows_of(database, "SELECT cause, actor, reason FROM rollout_change ORDER BY id")
    assert audit[1:] == [("manual_rollback", "ada", "because"), ("noop", "ada", "because")]


def test_pause_resume_and_a_percentage_by_hand_are_actions_of_one_flow(database: Engine) -> None:
    begin("ranker")
    assert update_rollout("ranker", "pause", **BY).state == "paused"
    assert update_rollout("ranker", "resume", **BY).state == "running"
    assert update_rollout("ranker", "percentage", percentage=40, **BY).state == "manual_hold"
    assert standing(database) == (40, "manual_hold")


@pytest.mark.parametrize("percentage", [101, -1, "x", float("nan")])
def test_18_a_percentage_that_makes_no_sense_is_refused_at_the_door(
    database: Engine, percentage: Any
) -> None:
    begin("ranker")
    given = {"rollout": "ranker", "action": "percentage", "percentage": percentage, **BY}
    with pytest.raises(InputError, match="percentage"):
        run_by_ledger(update_rollout, given)
    assert rows_of(database, "SELECT cause FROM rollout_change") == [("start",)]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"action": "percentage"}, "needs the field percentage"),
        ({"action": "pause", "percentage": 5}, "does not take the field percentage"),
        ({"action": "edit"}, "needs the field edit"),
        ({"action": "delete", "edit": {}}, "does not take the field edit"),
        ({"action": "stop"}, "action"),
    ],
)
def test_an_action_takes_what_it_needs_and_nothing_else(
    database: Engine, given: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        run_by_ledger(update_rollout, {"rollout": "ranker", **given, **BY})


def test_a_draft_is_written_edited_and_started_by_its_name(database: Engine) -> None:
    drafted = start_rollout("ranker", model_version="v2", is_draft=True, **BY)
    assert (drafted.state, drafted.percentage) == ("draft", 0)
    edit = {"schedule": "10/1h,100/1h", "control_version": "v1"}
    run_by_ledger(update_rollout, {"rollout": "ranker", "action": "edit", "edit": edit, **BY})
    started = start_rollout("ranker", **BY)
    assert (started.state, started.percentage) == ("running", 10)
    assert rows_of(database, "SELECT cause FROM rollout_change ORDER BY id") == [
        ("create",),
        ("edit",),
        ("start",),
    ]


def test_a_draft_starts_as_it_is_planned_or_not_at_all(database: Engine) -> None:
    start_rollout("ranker", model_version="v2", is_draft=True, **BY)
    with pytest.raises(InputError, match=r"edit it first, or leave out schedule, resalt"):
        start_rollout("ranker", schedule="100/1h", resalt=True, **BY)


def test_a_run_that_goes_on_edits_what_was_asked_for_and_nothing_else(database: Engine) -> None:
    start_rollout("ranker", model_version="v2", control_version="v1", is_draft=True, **BY)
    edit = RolloutEdit.model_validate({"organization": "acme", "control_version": None})
    again = RolloutEdit.model_validate_json(edit.model_dump_json())
    assert again.given == {"organization": "acme", "control_version": None}
    assert not update_rollout("ranker", "edit", edit=again, **BY).is_noop
    assert rows_of(database, "SELECT organization, control_version, state FROM rollout") == [
        ("acme", None, "draft")
    ]


def test_a_second_rollout_of_a_version_ends_refused(database: Engine) -> None:
    begin("ranker")
    state = start_rollout(
        name="again", model_version="v2", actor="ada", reason="because", return_state=True
    )
    assert (state.name, state.is_failed()) == ("Refused", True)
    with pytest.raises(Refused, match="already-active"):
        state.result()


def test_the_same_flows_run_without_prefect(database: Engine) -> None:
    run_by_ledger(start_rollout, {"name": "ranker", "model_version": "v2", **BY})
    hours_pass(database, 2)
    traffic(database)
    [outcome] = run_by_ledger(progress_rollouts, {})
    assert (outcome.verdict, standing(database)) == ("advance", (25, "running"))
