"""Who may ask, for what, how often, and for how long."""

from __future__ import annotations

import asyncio
import json
import logging
from hashlib import sha256

import pytest
from click.testing import CliRunner
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from sqlalchemy import Engine, text

from flows.cli import cli, main
from tasks.errors import InputError, Refused
from tasks.serving.admission import Door
from tasks.serving.keys import create_key, list_keys, revoke_key
from tasks.serving.server import refuse_open_doors
from tasks.serving.wire import Problem
from tests.database.rollouts import hours_pass
from tests.database.serving import FLAGS, key, roll_out, sdk, served
from tests.rows import rows_of

BODY = {"context": {"targetingKey": "user-1"}}
EVENT = {"experiment": "buttons", "userId": "user-1", "eventType": "buy"}


def test_a_key_opens_what_its_scopes_say(database: Engine) -> None:
    roll_out(database)
    with served(database, is_open=False) as server:

        def statuses(headers: dict[str, str]) -> list[int]:
            return [
                server.post(f"{FLAGS}/v2", json=BODY, headers=headers).status_code,
                server.post("/v1/track", json=EVENT, headers=headers).status_code,
                server.get("/metrics", headers=headers).status_code,
            ]

        assert statuses({}) == [401, 401, 401]
        assert statuses({"Authorization": "Bearer hw_wrong"}) == [401, 401, 401]
        broken = server.get("/metrics", headers=[(b"X-API-Key", b"hw_\xff")])
        assert broken.status_code == 401
        assert statuses(key(database, "evaluate", name="a")) == [200, 403, 403]
        assert statuses(key(database, "track", name="b")) == [403, 404, 403]
        assert statuses(key(database, "read", name="c")) == [403, 403, 200]
        as_header = {"X-API-Key": key(database, name="d")["Authorization"].split()[1]}
        assert statuses(as_header) == [200, 403, 403]
        refused = server.post(f"{FLAGS}/v2", json=BODY)
        assert refused.headers["WWW-Authenticate"] == "Bearer"
        assert refused.json()["errorDetails"].startswith("send an API key")


def test_only_the_hash_of_a_key_is_kept(database: Engine) -> None:
    with database.begin() as tx:
        made = create_key(tx, "app", ["evaluate", "track", "evaluate"], "ada")
    [row] = rows_of(database, "SELECT to_jsonb(k) FROM api_key k")
    assert row[0]["key_hash"] == sha256(made.key.encode()).hexdigest()
    assert row[0]["scopes"] == ["evaluate", "track"]
    assert made.key[:8] == row[0]["key_prefix"]
    assert made.key not in json.dumps(row[0])
    assert len(made.key) == 46


def test_a_name_is_used_once(database: Engine) -> None:
    with database.begin() as tx:
        create_key(tx, "app", ["evaluate"], "ada")
        revoke_key(tx, "app")
        with pytest.raises(Refused, match="name-taken"):
            create_key(tx, "app", ["evaluate"], "ada")
        with pytest.raises(InputError, match="printable name"):
            create_key(tx, "two\nlines", ["evaluate"], "ada")


def test_a_revoked_key_opens_nothing_after_some_seconds(database: Engine) -> None:
    seconds = [0.0]
    door = Door(database, seconds=5, clock=lambda: seconds[0])
    secret = key(database)["Authorization"].split()[1]
    asyncio.run(door.admit(secret, "evaluate"))
    with database.begin() as tx:
        revoke_key(tx, "app")
    asyncio.run(door.admit(secret, "evaluate"))  # still in the cache
    seconds[0] = 5.1
    with pytest.raises(Problem, match="not valid") as refusal:
        asyncio.run(door.admit(secret, "evaluate"))
    assert refusal.value.status == 401


def test_a_key_expires_by_the_clock_of_the_database(database: Engine) -> None:
    secret = key(database, days=1)["Authorization"].split()[1]
    asyncio.run(Door(database).admit(secret, "evaluate"))
    hours_pass(database, 24)
    with pytest.raises(Problem, match="expired"):
        asyncio.run(Door(database).admit(secret, "evaluate"))
    with database.connect() as connection:
        assert [k.is_valid for k in list_keys(connection)] == [False]


def test_who_asks_too_often_is_told_when_to_ask_again(database: Engine) -> None:
    roll_out(database)
    with served(database, is_open=False) as server:
        ours = key(database, requests_per_minute=2)
        replies = [server.post(f"{FLAGS}/v2", json=BODY, headers=ours) for _ in range(3)]
        assert [each.status_code for each in replies] == [200, 200, 429]
        assert 1 <= int(replies[2].headers["Retry-After"]) <= 30
        other = key(database, name="other")
        assert server.post(f"{FLAGS}/v2", json=BODY, headers=other).status_code == 200


def test_the_sdk_uses_its_default_without_a_key_and_waits_where_it_asked_too_often(
    database: Engine,
) -> None:
    roll_out(database, 100)
    user = EvaluationContext("user-1")
    with served(database, is_open=False) as server:
        client = sdk(server, **key(database, requests_per_minute=1))
        assert client.get_boolean_value("v2", False, user) is True
        limited = client.get_boolean_details("v2", False, user)
        assert (limited.value, limited.error_code) == (False, ErrorCode.GENERAL)
        assert "Rate limited, retry after: 60" in str(limited.error_message)
        paused = client.get_boolean_details("v2", False, user)
        assert "paused" in str(paused.error_message)  # it did not ask again
        refused = sdk(server).get_boolean_details("v2", False, user)
        assert (refused.value, refused.error_message) == (False, "unauthorized")
        tracker = sdk(server, **key(database, "track", name="tracker"))
        refused = tracker.get_boolean_details("v2", False, user)
        assert (refused.value, refused.error_message) == (False, "forbidden")


def test_nothing_that_is_logged_names_a_user_or_a_key(
    database: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with served(database, is_open=False) as server:
        ours = key(database, "evaluate", "track")
        server.post(f"{FLAGS}/v2", json={"context": {"targetingKey": "jane-doe"}}, headers=ours)
        server.get("/v1/rollouts/check/v2?userId=jane-doe", headers=ours)
        with database.begin() as tx:
            tx.execute(text("DROP FUNCTION rollout_exposure CASCADE"))
        server.post(f"{FLAGS}/v2", json={"context": {"targetingKey": "jane-doe"}}, headers=ours)
    logged = "\n".join(
        record.getMessage() for record in caplog.records if not record.name.startswith("http")
    )
    assert "migration" in logged
    assert "jane" not in logged
    assert ours["Authorization"].split()[1][:12] not in logged


def test_keys_are_made_listed_and_revoked_on_the_command_line(
    database: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = CliRunner()
    words = "key create shop --scope evaluate --scope track --organization acme"
    made = runner.invoke(cli, [*words.split(), "--requests-per-minute", "600", "--json"])
    document = json.loads(made.stdout)
    assert (document["name"], document["scopes"]) == ("shop", ["evaluate", "track"])
    shown = runner.invoke(cli, ["key", "list"]).stdout
    assert "acme" in shown
    assert document["key"] not in shown
    [listed] = json.loads(runner.invoke(cli, ["key", "list", "--json"]).stdout)
    assert (listed["requests_per_minute"], listed["is_valid"]) == (600, True)
    assert "revoked" in runner.invoke(cli, ["key", "revoke", "shop"]).stdout
    [listed] = json.loads(runner.invoke(cli, ["key", "list", "--json"]).stdout)
    assert listed["is_valid"] is False
    with pytest.raises(SystemExit):
        main(["key", "revoke", "nobody"])
    assert "no key is called 'nobody'" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "example.com"])
def test_without_keys_only_this_machine_may_ask(host: str) -> None:
    with pytest.raises(Refused, match="loopback address only"):
        refuse_open_doors(host, is_open=True)
    refuse_open_doors(host, is_open=False)
    for own in ("127.0.0.1", "127.8.0.1", "::1", "localhost"):
        refuse_open_doors(own, is_open=True)
