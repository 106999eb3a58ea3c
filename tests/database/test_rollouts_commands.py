"""`headway rollout create | start | edit | show | set | …`, as a person types them."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tasks.experiments.assignment.overrides import set_override
from tests.database.command_line import Call, headway_fixture
from tests.database.layered import make_holdout
from tests.database.rollouts import FAILING, an_hour
from tests.rows import rows_of

WHO = ("--actor", "ada", "--reason", "a new ranker")
TOML = """
name = "ranker"
model_version = "v2"
schedule = "5/2h,100/1h"
control_version = "v1"
requests_per_hour = 20000

[policy]
guard = "threshold"
max_hold_hours = 6
[[policy.checks]]
check = "error_rate"
limit = 0.05
[[policy.checks]]
check = "latency"
limit = 200
is_shadow = true
"""
headway = headway_fixture("rollout")


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "ranker.toml"
    path.write_text(TOML, "utf-8")
    return str(path)


def test_a_rollout_of_a_file_is_drafted_edited_started_and_shown(
    headway: Call, database: Engine, file: str
) -> None:
    code, made = headway("create", "-f", file, "--organization", "acme", *WHO, "--json")
    assert (code, made["result"]["state"], made["result"]["percentage"]) == (0, "draft", 0)
    assert rows_of(
        database, "SELECT control_version, organization, policy -> 'max_hold_hours' FROM rollout"
    ) == [("v1", "acme", 6)]
    words = ("edit", "ranker", "--schedule", "10/2h,100/1h", "--clear", "organization")
    assert headway(*words, *WHO)[0] == 0
    assert headway("start", "ranker", *WHO, "--json")[1]["result"]["percentage"] == 10
    assert rows_of(database, "SELECT organization, state FROM rollout") == [(None, "running")]
    assert rows_of(database, "SELECT cause FROM rollout_change ORDER BY id") == [
        ("create",),
        ("edit",),
        ("start",),
    ]


def test_the_plan_in_the_documents_is_one(headway: Call, database: Engine, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/rollouts.md").read_text("utf-8")
    path = tmp_path / "documented.toml"
    path.write_text(page.partition("```toml\n")[2].partition("```")[0], "utf-8")
    assert headway("create", "-f", str(path), *WHO)[0] == 0
    assert rows_of(
        database,
        "SELECT exclusion_group, is_fail_closed, policy #>> '{freezes,0,from_time}' FROM rollout",
    ) == [("ranking", True, "12:00:00")]


def test_options_alone_are_a_plan_too(headway: Call, database: Engine) -> None:
    words = ("--schedule", "33.3333333/0.5h,100/1h", "--guard", "sequential", "--fail-closed")
    assert headway("start", "ranker", "v2", *words, "--tick-seconds", "60", *WHO)[0] == 0
    assert rows_of(
        database,
        "SELECT percentage, policy ->> 'guard', is_fail_closed, tick_seconds FROM rollout",
    ) == [(33.3333333, "sequential", True, 60)]


def test_a_rollout_can_wait_for_its_time(headway: Call, database: Engine) -> None:
    _, out = headway("start", "ranker", "v2", "--starts-at", "2100-01-01T08:00", *WHO)
    assert "scheduled at 0 %, starts 2100-01-01 08:00 UTC" in out
    _, [listed] = headway("list", "--json")
    assert (listed["state"], listed["starts_at"]) == ("scheduled", "2100-01-01T08:00:00Z")


def test_show_says_where_it_stands_what_comes_next_and_what_was_done(
    headway: Call, database: Engine, file: str
) -> None:
    headway("start", "-f", file, *WHO)
    an_hour(database)
    _, shown = headway("show", "ranker", "--json")
    assert shown["rollout"]["percentage"] == 5
    assert shown["seconds_in_stage"] == pytest.approx(3600, abs=60)
    assert (shown["next_step"]["step"], shown["next_step"]["percentage"]) == ("advance", 100)
    assert [each["metric"] for each in shown["checks"]] == ["error_rate", "latency"]
    assert shown["checks"][0]["sample_count"] == 5000
    assert {each["guard"] for each in shown["checks"]} == {"threshold"}
    assert [each["cause"] for each in shown["changes"]] == ["start"]
    assert shown["last_decision"]["verdict"] == "hold"
    code, page = headway("show", "ranker")
    assert code == 0
    for words in ("5 % of users, running", "stage 1 of 2", "advance at 100 %", "threshold:"):
        assert words in page
    assert "base64" not in page


def test_show_names_the_alert_of_a_rollback(headway: Call, database: Engine, file: str) -> None:
    headway("start", "-f", file, *WHO)
    an_hour(database, FAILING)
    _, shown = headway("show", "ranker", "--json")
    assert (shown["rollout"]["state"], shown["next_step"]) == ("rolled_back", None)
    assert [(each["metric"], each["severity"]) for each in shown["alerts"]] == [
        ("error_rate", "critical")
    ]
    assert "Open alerts" in headway("show", "ranker")[1]


def test_a_percentage_a_pause_a_resume_and_a_rollback_are_commands(headway: Call) -> None:
    headway("start", "ranker", "v2", *WHO)
    moves = (["pause"], ["resume"], ["set", "40"], ["rollback"])
    states = [
        headway(words[0], "ranker", *words[1:], *WHO, "--json")[1]["result"]["state"]
        for words in moves
    ]
    assert states == ["paused", "running", "manual_hold", "rolled_back"]


def test_a_draft_is_deleted_and_what_has_begun_is_not(headway: Call, database: Engine) -> None:
    headway("create", "ranker", "v2", *WHO)
    assert "draft deleted" in headway("delete", "ranker", *WHO)[1]
    assert rows_of(database, "SELECT 1 FROM rollout") == []
    headway("start", "ranker", "v2", *WHO)
    code, refused = headway("delete", "ranker", *WHO, "--json")
    assert (code, refused["reasons"][0]["code"]) == (3, "not-a-draft")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("start", *WHO), "name the rollout"),
        (("create", "ranker", *WHO), "create NAME MODEL_VERSION"),
        (("set", "ranker", "101", *WHO), "101"),
        (("set", "ranker", "x", *WHO), "'x'"),
        (("start", "ranker", "v2"), "--actor"),
    ],
)
def test_18_what_cannot_be_meant_is_told_at_once(
    headway: Call, words: tuple[str, ...], message: str
) -> None:
    code, document = headway(*words, "--json")
    assert code == 2
    assert message in document["message"]


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (
            "name = 'a'\nmodel_version = 'v'\nschedul = '5/2h'",
            "schedul: there is no such field; did you mean schedule?",
        ),
        ("name = 'a'\nmodel_version = 'v'\nschedule = '50/2h,25/1h'", "must increase"),
        ('name = "a\\nb"\nmodel_version = "v"', "name: it holds a line break"),
        ("name = ", "cannot be read"),
        ("name = 'a'\nmodel_version = 'v'\ncontrol_version = 'v'", "cannot be model_version"),
    ],
)
def test_a_file_that_is_no_plan_is_told_with_its_name(
    headway: Call, tmp_path: Path, plan: str, message: str
) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(plan, "utf-8")
    code, document = headway("create", "-f", str(path), *WHO, "--json")
    assert code == 2
    assert message in document["message"]
    assert "wrong.toml" in document["message"]


def test_check_answers_for_one_user(headway: Call, database: Engine) -> None:
    headway("start", "ranker", "v2", "--schedule", "100/1h", *WHO)
    assert headway("check", "user-1", "v2", "--json")[1]["should_use"] is True
    assert headway("check", "user-1", "v3") == (0, "no\n")
    with database.begin() as tx:
        make_holdout(tx, "quiet", 0.5)
        set_override(tx, "quiet", "user-1", "held-out", "ada", "a test")
    headway("start", "kept", "v4", "--schedule", "100/1h", "--respect-holdouts", *WHO)
    assert headway("check", "user-1", "v4") == (0, "no: held out by quiet\n")
    document = headway("check", "user-1", "v4", "--json")[1]
    assert (document["is_held_out"], document["held_out_by"]) == (True, ["quiet"])
    code, told = headway("check", "", "v2", "--json")
    assert (code, "a user id names somebody; this one is empty" in told["message"]) == (2, True)


def test_a_start_whose_time_has_passed_is_said_to_be_now(headway: Call) -> None:
    _, out = headway("start", "ranker", "v2", "--starts-at", "2020-01-01", *WHO)
    assert "ranker: start; running at 5 %: its time, 2020-01-01 00:00 UTC, has passed" in out
    _, again = headway("start", "ranker", "v2", "--starts-at", "2020-01-01", *WHO)
    assert "ranker: nothing to do; running at 5 %\n" in again
    _, page = headway("show", "ranker")
    assert "stage 1 of 5, just begun." in page or "stage 1 of 5 for " in page
    assert "e-0" not in page


def test_a_value_cannot_be_given_and_taken_away_at_once(headway: Call) -> None:
    headway("create", "ranker", "v2", "--exclusion-group", "g1", *WHO)
    words = ("--exclusion-group", "g2", "--clear", "exclusion_group")
    code, said = headway("edit", "ranker", *words, *WHO, "--json")
    assert (code, "--exclusion-group and --clear exclusion_group" in json.dumps(said)) == (2, True)


def test_a_pointer_that_is_none_is_said_with_one_that_is(headway: Call, tmp_path: Path) -> None:
    source = {"kind": "http", "url": "http://localhost/health", "value": "data.errors"}
    path = tmp_path / "plan.json"
    check = {"check": "error_rate", "limit": 0.05, "source": source}
    plan = {"name": "ranker", "model_version": "v2", "policy": {"checks": [check]}}
    path.write_text(json.dumps(plan))
    code, said = headway("create", "-f", str(path), *WHO, "--json")
    assert code == 2
    assert "value: a JSON pointer begins with /, such as /data/errors" in said["message"]


def test_what_had_not_begun_is_said_to_be_rolled_back_before_it_began(
    headway: Call, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("headway.step").addHandler(caplog.handler)
    headway("start", "ranker", "v2", "--starts-at", "2100-01-01T08:00", *WHO)
    code, out = headway("rollback", "ranker", *WHO)
    assert (code, out.partition("\n")[0]) == (
        0,
        "ranker: rolled back before it began; draft at 0 %",
    )
    assert "rollout ranker (v2) rolled back before it began by ada: a new ranker" in caplog.messages
    logging.getLogger("headway.step").removeHandler(caplog.handler)


def test_a_secret_where_none_should_be_is_refused_and_kept_nowhere(
    headway: Call, database: Engine, tmp_path: Path
) -> None:
    check = {"check": "error_rate", "limit": 0.05}
    source = {"kind": "http", "url": "http://user:PLAIN99@localhost/health", "value": "/rate"}
    path = tmp_path / "plan.json"
    plan = {"name": "ranker", "model_version": "v2"}
    path.write_text(json.dumps(plan | {"policy": {"checks": [check | {"source": source}]}}))
    for verb in ("start", "create"):
        code, out = headway(verb, "-f", str(path), *WHO, "--json")
        assert (code, "PLAIN99" in json.dumps(out)) == (2, False)
    assert rows_of(database, "SELECT parameters FROM headway.run") == []
