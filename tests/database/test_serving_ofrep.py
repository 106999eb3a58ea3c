"""Flags over HTTP, as OpenFeature's own client asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from sqlalchemy import Engine, text

from tasks.bucketing import bucket, is_exposed
from tasks.experiments.assignment.overrides import set_override
from tests.database import experiments
from tests.database.serving import FLAGS, ask, key, roll_out, sdk, served
from tests.rows import rows_of

USER = EvaluationContext("user-1")
GERMAN = [{"attribute": "country", "op": "eq", "value": "DE"}]


@pytest.fixture
def server(database: Engine) -> Iterator[httpx.Client]:
    with served(database) as client:
        yield client


def test_the_sdk_gets_a_rollout_as_a_boolean(database: Engine, server: httpx.Client) -> None:
    roll_out(database, 25)
    client = sdk(server)
    for number in range(20):
        user = f"user-{number}"
        found = client.get_boolean_details("v2", False, EvaluationContext(user))
        exposed = is_exposed("rollout:ranker", user, 25)
        assert (found.value, found.reason) == (exposed, Reason.SPLIT)
        assert found.variant == ("new" if exposed else "old")
        assert found.flag_metadata == {
            "bucket": bucket("rollout:ranker", user),
            "percentage": 25.0,
            "rolloutId": 1,
            "rollout": "ranker",
            "modelVersion": "v2",
            "state": "running",
            "stage": 1,
            "hashVersion": 1,
            "isFailClosed": False,
            "isHeldOut": False,
        }


def test_a_rollout_is_known_by_its_version_and_by_its_name(
    database: Engine, server: httpx.Client
) -> None:
    roll_out(database, 100)
    assert [ask(server, each)["value"] for each in ("v2", "ranker", "rollout:v2")] == [True] * 3
    assert ask(server, "experiment:v2")["errorCode"] == "FLAG_NOT_FOUND"


@pytest.mark.parametrize(
    ("columns", "value", "reason"),
    [
        ({"percentage": 100}, True, "STATIC"),
        ({"percentage": 0}, False, "STATIC"),
        ({"percentage": 0, "state": "draft"}, False, "DISABLED"),
        ({"percentage": 0, "state": "rolled_back", "finished_at": "now"}, False, "DISABLED"),
        (
            {"percentage": 100, "is_fail_closed": True, "stage_entered_at": "2026-01-01"},
            False,
            "DISABLED",
        ),
    ],
)
def test_a_rollout_that_is_not_in_force_answers_with_the_old_version(
    database: Engine, server: httpx.Client, columns: dict[str, Any], value: bool, reason: str
) -> None:
    roll_out(database, **columns)
    found = sdk(server).get_boolean_details("v2", not value, USER)
    assert (found.value, found.reason, found.error_code) == (value, Reason[reason], None)


def test_a_rollback_answers_the_next_request(database: Engine, server: httpx.Client) -> None:
    roll_out(database, 100)
    assert sdk(server).get_boolean_value("v2", False, USER)
    with database.begin() as tx:
        tx.execute(
            text("UPDATE rollout SET state = 'rolled_back', percentage = 0, finished_at = now()")
        )
    assert not sdk(server).get_boolean_value("v2", False, USER)


def test_the_sdk_gets_an_experiment_as_the_name_of_a_variant(
    database: Engine, server: httpx.Client
) -> None:
    experiments.start()
    found = sdk(server).get_string_details("buttons", "default", USER)
    assert (found.value, found.variant, found.reason) == (found.value, found.value, Reason.SPLIT)
    stored = rows_of(database, "SELECT user_id, bucket_value FROM ab_assignments")
    assert stored == [("user-1", found.flag_metadata["bucket"])]
    with database.connect() as connection:
        by_sql = connection.scalar(text("SELECT assign_variant('buttons', 'user-1')"))
    assert found.value == by_sql
    assert sdk(server).get_string_value("buttons", "default", USER) == by_sql


def test_targets_are_judged_by_the_context(database: Engine, server: httpx.Client) -> None:
    experiments.start(target_rules=GERMAN, dimensions=["device"])
    client = sdk(server)
    swiss = EvaluationContext("user-1", {"country": "CH"})
    found = client.get_string_details("buttons", "default", swiss)
    assert (found.value, found.reason) == ("control", Reason.DEFAULT)
    assert found.flag_metadata["isParticipant"] is False
    assert rows_of(database, "SELECT * FROM ab_assignments") == []
    german = EvaluationContext("user-1", {"country": "DE", "device": "phone", "mail": "a@b.c"})
    assert client.get_string_details("buttons", "default", german).reason == Reason.SPLIT
    # What the experiment is broken down by is kept, and nothing else of the context.
    assert rows_of(database, "SELECT metadata FROM ab_assignments") == [({"device": "phone"},)]


def test_an_override_answers_first(database: Engine, server: httpx.Client) -> None:
    experiments.start(target_rules=GERMAN)
    with database.begin() as tx:
        set_override(tx, "buttons", "user-1", "red", "ada", "to see it")
    found = sdk(server).get_string_details("buttons", "default", USER)
    assert (found.value, found.reason) == ("red", Reason.TARGETING_MATCH)


@pytest.mark.parametrize("status", ["paused", "completed", "archived"])
def test_an_experiment_that_is_not_active_shows_the_control_and_keeps_arms(
    database: Engine, server: httpx.Client, status: str
) -> None:
    experiments.start()
    before = sdk(server).get_string_value("buttons", "default", USER)
    with database.begin() as tx:
        tx.execute(text("UPDATE ab_experiments SET status = :status"), {"status": status})
    assert sdk(server).get_string_value("buttons", "default", USER) == before
    new = sdk(server).get_string_details("buttons", "default", EvaluationContext("somebody-new"))
    assert (new.value, new.reason) == ("control", Reason.DISABLED)
    assert len(rows_of(database, "SELECT * FROM ab_assignments")) == 1


def test_the_sdk_uses_the_default_of_the_code_where_there_is_no_answer(
    database: Engine, server: httpx.Client
) -> None:
    roll_out(database, 100)
    client = sdk(server)
    unknown = client.get_boolean_details("v9", False, USER)
    assert (unknown.value, unknown.error_code) == (False, ErrorCode.FLAG_NOT_FOUND)
    nobody = client.get_boolean_details("v2", False)
    assert (nobody.value, nobody.error_code) == (False, ErrorCode.TARGETING_KEY_MISSING)
    number = client.get_boolean_details("v2", False, EvaluationContext(7))  # type: ignore[arg-type]
    assert (number.value, number.error_code) == (False, ErrorCode.INVALID_CONTEXT)
    wrong_type = client.get_string_details("v2", "default", USER)
    assert (wrong_type.value, wrong_type.error_code) == ("default", ErrorCode.TYPE_MISMATCH)
    long = client.get_string_details("v9", "default", EvaluationContext("x" * 300))
    assert (long.value, long.error_code) == ("default", ErrorCode.FLAG_NOT_FOUND)


def test_a_unit_that_an_experiment_cannot_have_is_an_invalid_context(
    database: Engine, server: httpx.Client
) -> None:
    experiments.start()
    found = sdk(server).get_string_details("buttons", "default", EvaluationContext("x" * 300))
    assert (found.value, found.error_code) == ("default", ErrorCode.INVALID_CONTEXT)


def test_every_error_says_code_and_details(database: Engine, server: httpx.Client) -> None:
    roll_out(database)
    post = server.post
    bad = [
        (post(f"{FLAGS}/v2", content=b"{", headers=JSON), 400, "PARSE_ERROR"),
        (post(f"{FLAGS}/v2", content=b"[]", headers=JSON), 400, "PARSE_ERROR"),
        (post(f"{FLAGS}/v2", content=b"null", headers=JSON), 400, "PARSE_ERROR"),
        (post(FLAGS, content=b"null", headers=JSON), 400, "PARSE_ERROR"),
        (post(f"{FLAGS}/v2", content=b"\xff", headers=JSON), 400, "PARSE_ERROR"),
        (post(f"{FLAGS}/v2", content=b"[" * 90_000, headers=JSON), 400, "PARSE_ERROR"),
        (post(f"{FLAGS}/v2", content=b'{"context":{"targetingKey":"u"}}'), 400, "PARSE_ERROR"),
        (post(f"{FLAGS}/v2", json={"context": 7}), 400, "INVALID_CONTEXT"),
        (post(f"{FLAGS}/v2", json={"context": {"targetingKey": ["u"]}}), 400, "INVALID_CONTEXT"),
        (post(f"{FLAGS}/v2", json={"context": {"targetingKey": "\0"}}), 400, "INVALID_CONTEXT"),
        (post(f"{FLAGS}/v2", content=LONE, headers=JSON), 400, "INVALID_CONTEXT"),
        (post(f"{FLAGS}/v2", json={"context": {}}), 400, "TARGETING_KEY_MISSING"),
        (post(f"{FLAGS}/v2"), 400, "PARSE_ERROR"),
        (post(f"{FLAGS}/v9", json={"context": {"targetingKey": "u"}}), 404, "FLAG_NOT_FOUND"),
        (post(f"{FLAGS}/%00", json={"context": {"targetingKey": "u"}}), 404, "FLAG_NOT_FOUND"),
        (post(f"{FLAGS}/v2", content=b" " * 2**21, headers=JSON), 413, "GENERAL"),
        (server.get(f"{FLAGS}/v2"), 405, "GENERAL"),
    ]
    for response, status, code in bad:
        body = response.json()
        assert (response.status_code, body["errorCode"]) == (status, code), body
        assert body["errorDetails"]


JSON = {"Content-Type": "application/json"}
LONE = b'{"context":{"targetingKey":"\\ud800"}}'


def test_all_flags_at_once_let_nobody_into_an_experiment(
    database: Engine, server: httpx.Client
) -> None:
    roll_out(database, 100)
    roll_out(database, 0, name="other", model_version="v3", state="draft")
    experiments.start()
    experiments.start(name="colours")
    ask(server, "colours")
    reply = server.post(FLAGS, json={"context": {"targetingKey": "user-1"}})
    found = {flag["key"]: flag["value"] for flag in reply.json()["flags"]}
    assert found.pop("colours") in {"control", "red"}
    assert found == {"v2": True, "v3": False}
    assert len(rows_of(database, "SELECT * FROM ab_assignments")) == 1
    for flag in reply.json()["flags"]:
        alone = ask(server, flag["key"])
        assert alone == flag


def test_flags_that_have_not_changed_are_not_sent_again(
    database: Engine, server: httpx.Client
) -> None:
    roll_out(database, 25)
    body = {"context": {"targetingKey": "user-1"}}
    tag = server.post(FLAGS, json=body).headers["ETag"]
    again = server.post(FLAGS, json=body, headers={"If-None-Match": f'"other", W/{tag}'})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    with database.begin() as tx:
        tx.execute(text("UPDATE rollout SET percentage = 50"))
    changed = server.post(FLAGS, json=body, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.headers["ETag"] != tag) == (200, True)


def test_an_organization_sees_its_own_flags_and_those_of_nobody(database: Engine) -> None:
    roll_out(database, 100)
    roll_out(database, 100, name="theirs", model_version="v3", organization="beta")
    experiments.start(organization="beta")
    with served(database, is_open=False) as server:
        ours = key(database, name="ours", organization="acme")
        theirs = key(database, name="theirs", organization="beta")
        everybody = key(database, name="all")
        body = {"context": {"targetingKey": "user-1"}}
        statuses = {
            name: [
                server.post(f"{FLAGS}/{flag}", json=body, headers=header).status_code
                for flag in ("v2", "v3", "theirs", "buttons")
            ]
            for name, header in (("ours", ours), ("theirs", theirs), ("all", everybody))
        }
        assert statuses == {"ours": [200, 404, 404, 404], "theirs": [200] * 4, "all": [200] * 4}
        listed = server.post(FLAGS, json=body, headers=ours).json()["flags"]
        assert [flag["key"] for flag in listed] == ["v2"]


def test_a_name_of_another_organizations_rollout_answers_nobody_else(database: Engine) -> None:
    """Also where the version has a rollout of one's own, as before versions had one owner."""
    done = {"state": "completed", "finished_at": "now"}
    roll_out(database, 100, name="theirs", organization="beta", **done)
    roll_out(database, 100, name="ours", organization="acme")
    body = {"context": {"targetingKey": "user-1"}}
    with served(database, is_open=False) as server:
        ours = key(database, name="ours", organization="acme")
        statuses = [
            server.post(f"{FLAGS}/{flag}", json=body, headers=ours).status_code
            for flag in ("theirs", "rollout:theirs", "ours", "v2")
        ]
    assert statuses == [404, 404, 200, 200]
