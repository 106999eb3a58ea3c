"""Events and health samples over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from tests.database import experiments
from tests.database.serving import ask, key, roll_out, served
from tests.rows import rows_of

EVENT = {"experiment": "buttons", "userId": "user-1", "eventType": "buy"}
SAMPLE = {"modelVersion": "v2", "metric": "error_rate", "valueSum": 3, "sampleCount": 1000}


@pytest.fixture
def server(database: Engine) -> Iterator[httpx.Client]:
    with served(database) as client:
        yield client


def test_an_event_of_a_user_with_a_variant_counts(database: Engine, server: httpx.Client) -> None:
    experiments.start()
    ask(server, "buttons")
    full = EVENT | {
        "eventValue": 85.5,
        "eventId": "e-1",
        "eventData": {"score": 85, "roi": 150, "né": "\0x"},
        "sessionContext": {"page": "/"},
        "eventTimestamp": "2026-02-12T10:00:00Z",
    }
    assert server.post("/v1/track", json=full).json() == {"isRecorded": True}
    assert server.post("/v1/track", json=full).json() == {"isRecorded": False}
    columns = "event_type, event_value, event_id, event_data, session_context, source"
    assert rows_of(database, f"SELECT {columns} FROM ab_metrics") == [
        ("buy", 85.5, "e-1", {"score": 85, "roi": 150, "né": "\ufffdx"}, {"page": "/"}, "http")
    ]


def test_an_event_before_the_assignment_waits(database: Engine, server: httpx.Client) -> None:
    experiments.start()
    assert server.post("/v1/track", json=EVENT).json() == {"isRecorded": True}
    assert rows_of(database, "SELECT user_id FROM waiting_event") == [("user-1",)]


@pytest.mark.parametrize(
    ("changes", "status", "code", "about"),
    [
        ({"experiment": "unknown"}, 404, "NOT_FOUND", "no experiment"),
        ({"userId": ""}, 400, "INVALID_REQUEST", "userId"),
        ({"userId": "  "}, 400, "INVALID_REQUEST", "a unit has an id"),
        ({"userId": 7}, 400, "INVALID_REQUEST", "userId"),
        ({"userId": "\0"}, 400, "INVALID_REQUEST", "NUL"),
        ({"eventvalue": 7}, 400, "INVALID_REQUEST", "eventvalue"),
        ({"eventValue": 1e101}, 400, "INVALID_REQUEST", "eventValue"),
        ({"eventValue": True}, 400, "INVALID_REQUEST", "eventValue: a number"),
        ({"eventTimestamp": "2100-01-01T00:00:00Z"}, 400, "INVALID_REQUEST", "future"),
        ({"eventTimestamp": "2026-01-01T00:00:00"}, 400, "INVALID_REQUEST", "timezone"),
        ({"eventData": [1]}, 400, "INVALID_REQUEST", "eventData"),
    ],
)
def test_an_event_that_cannot_be_tracked_is_refused(
    database: Engine,
    server: httpx.Client,
    changes: dict[str, Any],
    status: int,
    code: str,
    about: str,
) -> None:
    experiments.start()
    reply = server.post("/v1/track", json=EVENT | changes)
    assert (reply.status_code, reply.json()["errorCode"]) == (status, code)
    assert about in reply.json()["errorDetails"]
    assert rows_of(database, "SELECT * FROM waiting_event") == []


def test_samples_come_one_or_many_and_each_event_id_once(
    database: Engine, server: httpx.Client
) -> None:
    many = [SAMPLE | {"eventId": f"s-{n}", "squareSum": 9.5} for n in range(500)]
    assert server.post("/v1/samples", json={"samples": many}).json() == {
        "recorded": 500,
        "known": 0,
    }
    again = server.post("/v1/samples", json={"samples": [*many, SAMPLE]})
    assert again.json() == {"recorded": 1, "known": 500}
    counted = "SELECT count(*), sum(value_sum), sum(sample_count), min(source) FROM health_sample"
    assert rows_of(database, counted) == [(501, 1503.0, 501_000, "http")]
    assert rows_of(database, "SELECT sum(square_sum) FROM health_sample") == [(4750.0,)]


def test_samples_are_recorded_together_or_not_at_all(
    database: Engine, server: httpx.Client
) -> None:
    late = SAMPLE | {"observedAt": "2100-01-01T00:00:00Z"}
    bad = [
        ([SAMPLE, late], "samples.1.observedAt lies in the future"),
        ([SAMPLE, SAMPLE | {"metric": ""}], "samples.1.metric"),
        ([SAMPLE, SAMPLE | {"valueSum": True}], "samples.1.valueSum: a number, not text, true"),
        ([SAMPLE | {"valueSum": "3"}], "samples.0.valueSum: a number, not text"),
        ([SAMPLE | {"sampleCount": "3"}], "samples.0.sampleCount: a number, not text"),
        ([SAMPLE | {"squareSum": False}], "samples.0.squareSum: a number, not text"),
        ([SAMPLE | {"observedAt": "2026-01-24"}], "samples.0.observedAt"),
        ([SAMPLE, SAMPLE | {"sampleCount": -1}], "samples.1.sampleCount"),
        ([SAMPLE | {"valueSum": 500, "sampleCount": 100}], "samples.0.valueSum: error_rate lies"),
        ([SAMPLE, SAMPLE | {"metric": "latency", "valueSum": -1}], "samples.1.valueSum: latency"),
        ([], "samples"),
        ([SAMPLE] * 1001, "samples"),
    ]
    for samples, about in bad:
        reply = server.post("/v1/samples", json={"samples": samples})
        assert (reply.status_code, reply.json()["errorCode"]) == (400, "INVALID_REQUEST")
        assert about in reply.json()["errorDetails"]
    assert rows_of(database, "SELECT * FROM health_sample") == []


def test_an_organization_reports_on_its_own_and_on_what_belongs_to_nobody(
    database: Engine,
) -> None:
    experiments.start(organization="beta")
    roll_out(database, organization="beta", control_version="v1")
    with served(database, is_open=False) as server:
        acme = key(database, "track", organization="acme")
        beta = key(database, "track", name="beta", organization="beta")

        def statuses(headers: dict[str, str]) -> list[int]:
            samples = [SAMPLE | {"modelVersion": each, "eventId": "1"} for each in VERSIONS]
            bodies = [{"samples": [sample]} for sample in samples]
            replies = [server.post("/v1/samples", json=body, headers=headers) for body in bodies]
            event = server.post("/v1/track", json=EVENT, headers=headers)
            return [each.status_code for each in (*replies, event)]

        assert statuses(acme) == [404, 404, 200, 404]
        assert statuses(beta) == [200, 200, 200, 200]
    # Each organization's event ids are its own: nobody can use up another's.
    sources = "SELECT source, count(*) FROM health_sample GROUP BY 1 ORDER BY 1"
    assert rows_of(database, sources) == [("http:acme", 1), ("http:beta", 1)]


VERSIONS = ["v2", "v1", "v7"]
