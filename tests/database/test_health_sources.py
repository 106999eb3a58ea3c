"""An HTTP source gives figures or says why not: it never raises, and never gives a zero."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tasks.rollouts.health.measured import Measured
from tests.database.health_sources import NOON, asked, measured, read, verdict
from tests.database.web import Web

pytestmark = pytest.mark.usefixtures("quick")


def http(web: Web, path: str = "/errors", **more: Any) -> dict[str, Any]:
    return {
        "kind": "http",
        "url": f"{web.url}{path}",
        "value": "/rate",
        "timeout_seconds": 0.3,
    } | more


def test_an_endpoint_gives_a_value_and_its_count(engine: Engine, web: Web) -> None:
    web.say("/errors/v%2F2?since=2026-11-20T11%3A00%3A00%2B00%3A00", '{"rate": 0.06, "n": 1000}')
    source = http(web, "/errors/{model_version}?since={window_start}", count="/n")
    found = measured(engine, source, "v/2")
    assert found == Measured(given_value=0.06, given_count=1000, given_rows=1)


def test_an_endpoint_gives_sums_and_takes_a_post_with_a_secret(engine: Engine, web: Web) -> None:
    web.say("/errors", '{"a": [{"sum": 60, "n": 1000, "squares": 60}]}')
    header = {"Authorization": {"env": "TOKEN", "prefix": "Bearer "}}
    source = http(web, method="POST", body={"version": "{model_version}"}, headers=header) | {
        "value": None,
        "value_sum": "/a/0/sum",
        "sample_count": "/a/0/n",
        "square_sum": "/a/0/squares",
    }
    found = measured(engine, source, 'v"2')
    assert found == Measured(value_sum=60, sample_count=1000, square_sum=60)
    assert web.asked == [("/errors", "Bearer hunter2")]
    assert [json.loads(body) for body in web.bodies] == [{"version": 'v"2'}]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("{}", 404, "answered 404"),
        ("{}", 500, "answered 500"),
        ("{}", 429, "answered 429"),
        ("{rate: 1}", 200, "is no JSON"),
        ("[" * 100_000, 200, "is no JSON"),
        ('{"other": 1}', 200, "nothing at /rate"),
        ('{"rate": 0.9, "rate": 0.01}', 200, "names 'rate' twice in one object (duplicate-key)"),
        ('{"rate": 0.01, "x": "' + "x" * 1_000_000 + '"}', 200, "more than 1000000 bytes"),
    ],
    ids=["404", "500", "429", "no-json", "deep", "wrong-pointer", "twice", "too-large"],
)
def test_an_endpoint_that_fails_is_unknown_and_says_why(
    engine: Engine, web: Web, body: str, status: int, said: str
) -> None:
    web.say("/errors", body, status)
    question = asked(http(web, headers={"X-Token": {"env": "TOKEN"}}))
    [reading] = read(engine, question)
    assert said in (reading.canary.source_error or "")
    assert "hunter2" not in str(reading)
    assert verdict(question, reading) == "inconclusive"
    assert len(web.asked) == (3 if status in {429, 500} else 1)


@pytest.mark.parametrize(
    "rate", ["null", "NaN", "Infinity", "1e999", "1e300", '"0.01"', "true", "[0.01]", "{}"]
)
def test_what_is_no_finite_number_is_never_healthy(engine: Engine, web: Web, rate: str) -> None:
    """Scenario 9."""
    web.say("/errors", f'{{"rate": {rate}}}')
    question = asked(http(web))
    [reading] = read(engine, question)
    assert (reading.canary.broken_rows == 1) == (rate != "null")
    assert verdict(question, reading) == "inconclusive"


@pytest.mark.parametrize("count", ["null", "0", "-1", "1.5", '"9"', "1e40"])
def test_a_value_without_its_count_is_never_healthy(engine: Engine, web: Web, count: str) -> None:
    web.say("/errors", f'{{"rate": 0.01, "n": {count}}}')
    question = asked(http(web, count="/n"), min_samples=0)
    [reading] = read(engine, question)
    assert verdict(question, reading) == "inconclusive"


def test_an_endpoint_that_recovers_is_believed_and_waited_for(engine: Engine, web: Web) -> None:
    """Scenario 10."""
    web.say("/errors", status=503, Retry_After="0.2")
    web.say("/errors", '{"rate": 0.01}')
    started = time.monotonic()
    assert measured(engine, http(web)).given_value == 0.01
    assert time.monotonic() - started >= 0.2


def test_a_slow_endpoint_times_out_and_keeps_nobody_waiting(engine: Engine, web: Web) -> None:
    web.say("/errors", '{"rate": 0.01}', after_seconds=0.5)
    assert "did not answer within 0.3 s" in (measured(engine, http(web)).source_error or "")
    slow, quick = asked(http(web, timeout_seconds=5)), asked({"kind": "samples"})
    late, sampled = read(engine, slow, quick, seconds=0.1)
    assert late.canary.source_error == "it did not answer within 0.1 s"
    assert sampled.canary == Measured()


def test_a_redirect_to_another_host_is_not_followed(engine: Engine, web: Web) -> None:
    web.say("/errors", status=302, Location="http://169.254.169.254/latest")
    assert "must stay on their host" in (measured(engine, http(web)).source_error or "")
    web.say("/other", status=307, Location="/here")
    web.say("/here", '{"rate": 0.5}')
    assert measured(engine, http(web, "/other")).given_value == 0.5


def test_a_version_cannot_lead_to_another_path(engine: Engine, web: Web) -> None:
    assert "cannot stand in a URL" in (
        measured(engine, http(web, "/a/{model_version}/x"), "..").source_error or ""
    )
    assert web.asked == []


def test_nobody_at_home_is_unknown(engine: Engine) -> None:
    source = {"kind": "http", "url": "http://127.0.0.1:1/x?a=b", "value": ""}
    assert measured(engine, source).source_error == (
        "http://127.0.0.1:1/x could not be asked: ConnectError"
    )


def test_readings_come_in_the_order_asked_each_with_its_control(engine: Engine, web: Web) -> None:
    web.say("/v2", '{"rate": 0.06}')
    web.say("/v1", '{"rate": 0.01}')
    with engine.begin() as tx:
        record = text("SELECT record_health_sample('v2', 'error_rate', 3, 100, :at)")
        tx.execute(record, {"at": NOON - timedelta(minutes=5)})
    endpoint = asked(http(web, "/{model_version}"), control="v1")
    sampled = asked({"kind": "samples"}, control="v1")
    unknown = asked({"kind": "weather"})
    first, second, third, again = read(engine, endpoint, sampled, unknown, endpoint)
    assert (first.canary.given_value, first.control and first.control.given_value) == (0.06, 0.01)
    assert (second.canary.value, second.control) == (0.03, Measured())
    assert "known: http, prometheus, query, samples" in (third.canary.source_error or "")
    assert again == first
    assert len(web.asked) == 2  # what is asked alike is asked once
