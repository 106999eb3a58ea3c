"""Whether it works, who guards the rollouts, and what happens when the database does not answer."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, make_url, text

from tasks.errors import InputError
from tasks.rollouts.health.possible import impossible
from tasks.serving.server import serve
from tests.database import experiments
from tests.database.rollouts import hours_pass
from tests.database.serving import FLAGS, ask, current_app, key, roll_out, served

BODY = {"context": {"targetingKey": "user-1"}}


def test_a_rollout_without_a_tick_for_two_intervals_is_named(database: Engine) -> None:
    roll_out(database, ticked_at="2026-01-01T00:00:00Z", is_fail_closed=True)
    roll_out(database, name="fresh", model_version="v3", ticked_at="now")
    roll_out(database, 0, name="late", model_version="v4", state="scheduled", starts_at="now")
    roll_out(database, 0, name="draft", model_version="v5", state="draft")
    with served(database) as server:
        found = server.get("/health")
        assert (found.status_code, found.json()["status"]) == (200, "degraded")
        [silent] = found.json()["silentRollouts"]
        assert (silent["name"], silent["isFailClosed"]) == ("ranker", True)
        assert silent["silentSeconds"] > 7200
        assert ask(server, "v2")["metadata"]["isFailClosed"] is True
        assert server.get("/health/ready").status_code == 200
        hours_pass(database, 2.01)
        names = [each["name"] for each in server.get("/health").json()["silentRollouts"]]
        assert names == ["fresh", "late", "ranker"]


def test_everything_is_ok_where_ticks_come(database: Engine) -> None:
    roll_out(database, ticked_at="now")
    with served(database) as server:
        found = server.get("/health").json()
        assert found.pop("lastTickAt")
        assert found == {"status": "ok", "database": "ok", "silentRollouts": []}
        assert server.get("/health/ready").json() == {"status": "ok", "database": "ok"}
        assert server.get("/health/live").json() == {"status": "ok"}


def test_health_names_only_what_the_key_may_see(database: Engine) -> None:
    roll_out(database, ticked_at="2026-01-01T00:00:00Z", organization="beta")
    with served(database, is_open=False) as server:
        assert server.get("/health").status_code == 401
        ours = key(database, "read", organization="acme")
        assert server.get("/health", headers=ours).json()["status"] == "ok"
        assert "v2" not in server.get("/metrics", headers=ours).text
        everybody = key(database, "read", name="all")
        assert server.get("/health", headers=everybody).json()["status"] == "degraded"
        assert server.get("/health/ready").status_code == 200


def test_metrics_count_the_flags_that_the_key_may_see_and_no_others(database: Engine) -> None:
    roll_out(database, 100)
    roll_out(database, 100, name="ours", model_version="v4", organization="acme")
    roll_out(database, 100, name="theirs", model_version="secret-v3", organization="beta")
    experiments.start(organization="beta")
    with served(database, is_open=False) as server:
        asking = key(database, name="all")
        for flag in ("v2", "v4", "v4", "secret-v3", "buttons"):
            context = {"context": {"targetingKey": "user-1"}}
            assert server.post(f"{FLAGS}/{flag}", json=context, headers=asking).status_code == 200
        shown = {
            name: {
                line.partition('flag="')[2].partition('"')[0]: float(line.split()[-1])
                for line in server.get(
                    "/metrics", headers=key(database, "read", name=f"of {name}", organization=name)
                ).text.splitlines()
                if line.startswith("headway_evaluations_total{")
            }
            for name in ("acme", "beta", None)
        }
    assert shown == {
        "acme": {"v2": 1, "v4": 2},
        "beta": {"v2": 1, "secret-v3": 1, "buttons": 1},
        None: {"v2": 1, "v4": 2, "secret-v3": 1, "buttons": 1},
    }


def test_metrics_say_what_was_asked_and_where_the_rollouts_stand(database: Engine) -> None:
    roll_out(database, 100)
    experiments.start()
    with served(database) as server:
        for flag in ("v2", "v2", "buttons", "no-such-flag"):
            ask(server, flag, "jane-doe")
        page = server.get("/metrics")
    assert page.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    for line in (
        'headway_evaluations_total{flag="v2",reason="STATIC",variant="new"} 2.0',
        f'headway_requests_total{{method="POST",route="{FLAGS}/{{key:path}}",status="404"}} 1.0',
        "headway_database_up 1.0",
        'headway_rollout_percentage{rollout="ranker",state="running",version="v2"} 100.0',
    ):
        assert line in page.text
    assert 'flag="buttons"' in page.text
    assert "no-such-flag" not in page.text
    assert "jane" not in page.text


def answers(server: httpx.Client) -> list[tuple[int, Any]]:
    event = {"experiment": "buttons", "userId": "user-1", "eventType": "buy"}
    samples = {"samples": [{"modelVersion": "v2", "metric": "m", "valueSum": 1}]}
    replies = [
        server.post(f"{FLAGS}/v2", json=BODY),
        server.post(FLAGS, json=BODY),
        server.post("/v1/track", json=event),
        server.post("/v1/samples", json=samples),
        server.get("/v1/rollouts/check/v2?userId=u"),
        server.get("/health/ready"),
        server.get("/health"),
    ]
    return [(each.status_code, each.json()) for each in replies]


def test_a_database_that_is_down_is_a_503_in_the_words_of_the_protocol(database: Engine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    nowhere = Nowhere(f"postgresql://nobody@127.0.0.1:{port}/none")
    with served(nowhere) as server:  # type: ignore[arg-type]
        found = answers(server)
        assert [status for status, _ in found] == [503] * 7
        assert found[0][1] == {
            "key": "v2",
            "errorCode": "GENERAL",
            "errorDetails": "the control database cannot answer now",
        }
        assert found[5][1] == {"status": "down", "database": "unreachable"}
        assert "headway_database_up 0.0" in server.get("/metrics").text
        assert server.get("/health/live").status_code == 200


class Nowhere:
    """Stands for a database by its address."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)


def test_a_database_that_was_not_migrated_is_a_503_that_says_so(
    bootstrapped_database: Engine,
) -> None:
    with served(bootstrapped_database) as server:
        found = answers(server)
    assert [status for status, _ in found] == [503] * 7
    assert "migration" in found[0][1]["errorDetails"]
    assert found[5][1]["database"] == "migration-pending"


def test_connections_that_were_cut_are_replaced(database: Engine) -> None:
    roll_out(database, 100)
    with served(database) as server:
        assert ask(server, "v2")["value"] is True
        with database.connect() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'headway serve' AND datname = current_database()"
                )
            )
        assert ask(server, "v2")["value"] is True


def test_it_needs_the_rights_of_a_reader_and_the_keys(database: Engine) -> None:
    roll_out(database, 100)
    experiments.start()
    with database.begin() as tx:
        tx.execute(text("GRANT SELECT ON api_key TO headway_reader"))
    reader = Nowhere(database.url.render_as_string(hide_password=False))
    reader.url = reader.url.update_query_dict({"options": "-c role=headway_reader"})
    with served(reader, is_open=False) as server:  # type: ignore[arg-type]
        ours = key(database, "evaluate", "track", "read")
        server.headers.update(ours)
        assert [status for status, _ in answers(server)] == [200] * 7
        assert ask(server, "buttons")["reason"] == "SPLIT"


def test_the_command_serves_at_once_without_prefect_and_stops_when_told(database: Engine) -> None:
    roll_out(database, 100)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    script = (
        "import sys, atexit, signal\n"
        # A shell may have started the tests with Ctrl-C turned off.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "atexit.register(lambda: print('prefect' in sys.modules, 'scipy' in sys.modules))\n"
        "from flows.cli import main\n"
        f"main(['serve', '--without-keys', '--port', '{port}'])\n"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        _await(client)
        assert ask(client, "v2")["value"] is True
        assert client.get("/openapi.json").json()["info"]["title"] == "Headway"
    server.send_signal(signal.SIGINT)
    output, _ = server.communicate(timeout=20)
    assert (output, server.returncode) == ("False False\n", 130)


def test_the_process_is_alive_while_every_thread_waits_for_the_database(database: Engine) -> None:
    roll_out(database, 100)
    with served(database) as server, database.begin() as tx, ThreadPoolExecutor(20) as pool:
        tx.execute(text("LOCK TABLE rollout"))
        waiting = [pool.submit(server.post, f"{FLAGS}/v2", json=BODY) for _ in range(20)]
        time.sleep(0.3)
        assert server.get("/health/live").status_code == 200
        tx.commit()
        assert {each.result().status_code for each in waiting} == {200}


def test_an_unexpected_error_is_answered_without_a_traceback(
    database: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    roll_out(database, 100)
    with served(database) as server:
        current_app().state.metrics = None
        reply = server.post(f"{FLAGS}/v2", json=BODY)
    assert (reply.status_code, reply.json()["errorCode"]) == (500, "GENERAL")
    assert "AttributeError" not in reply.text
    assert re.search(r"unexpected AttributeError at \S+ofrep.py:\d+", caplog.text)
    assert "Traceback" not in caplog.text


def test_an_address_that_is_taken_is_an_error_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"127.0.0.1 port {port}: Address already in use"):
            serve("127.0.0.1", port, is_open=True, judge=impossible)


def _await(client: httpx.Client) -> None:
    for _ in range(300):
        try:
            client.get("/health/live")
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the server did not start")
