"""Prometheus and queries give figures or say why not: they never raise, and never give a zero."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from tasks.rollouts.health.measured import Measured
from tasks.rollouts.health.sources.model import SecretName, Secrets
from tests.database.health_sources import NOON, TOKEN, measured
from tests.database.web import Web

pytestmark = pytest.mark.usefixtures("quick")


def prometheus(web: Web, **more: Any) -> dict[str, Any]:
    return {
        "kind": "prometheus",
        "url": web.url,
        "query": 'sum(rate(errors{version="{model_version}"}[{window_seconds}s]))',
        "timeout_seconds": 0.3,
    } | more


def vector(*values: Any) -> str:
    result = [{"metric": {}, "value": [0, value]} for value in values]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})


def say_to_all(web: Web, *answers: tuple[str, int]) -> None:
    """From now on these, whatever is asked."""
    web.answers = {}
    for body, status in answers:
        web.say("*", body, status)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (vector("0.03"), Measured(given_value=0.03, given_rows=1)),
        (
            '{"status":"success","data":{"resultType":"scalar","result":[0,"2"]}}',
            Measured(given_value=2, given_rows=1),
        ),
        (vector(), Measured()),
        (vector("NaN"), Measured(broken_rows=1)),
        (vector("+Inf"), Measured(broken_rows=1)),
        (vector("soon"), Measured(broken_rows=1)),
        (
            '{"status":"success","data":{"resultType":"string","result":[0,"text"]}}',
            Measured(broken_rows=1),
        ),
    ],
    ids=["value", "scalar", "empty", "nan", "inf", "text", "string"],
)
def test_prometheus_gives_one_series(engine: Engine, web: Web, body: str, found: Measured) -> None:
    say_to_all(web, (body, 200))
    assert measured(engine, prometheus(web)) == found


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (vector("1", "2"), 200, "gives 2 series; aggregate"),
        ('{"status":"error","errorType":"bad_data","error":"x"}', 200, "bad_data"),
        ('{"status":"error","errorType":"bad_data","error":"x"}', 400, "answered 400"),
        (
            '{"status":"success","warnings":["partial"],"data":{"resultType":"vector","result":[]}}',
            200,
            "may not be whole",
        ),
        ('{"status":"success"}', 200, "does not speak Prometheus"),
        ("[]", 200, "could not answer"),
        ("no", 200, "is no JSON"),
        ("", 503, "answered 503"),
    ],
)
def test_prometheus_that_fails_is_unknown(
    engine: Engine, web: Web, body: str, status: int, said: str
) -> None:
    say_to_all(web, (body, status))
    assert said in (measured(engine, prometheus(web)).source_error or "")


def test_prometheus_is_asked_at_the_end_of_the_window_with_versions_quoted(
    engine: Engine, web: Web
) -> None:
    say_to_all(web, (vector("1"), 200))
    measured(engine, prometheus(web), 'v"}\\2')
    told = parse_qs(urlsplit(web.asked[0][0]).query)
    assert told["query"] == ['sum(rate(errors{version="v\\"}\\\\2"}[3600s]))']
    assert told["time"] == [f"{NOON.timestamp():.3f}"]
    assert "is not asked" in (measured(engine, prometheus(web), "v'2").source_error or "")


def test_prometheus_gives_sums_with_counts_that_are_extrapolated(engine: Engine, web: Web) -> None:
    say_to_all(web, (vector("59.7"), 200), (vector("995.4"), 200))
    found = measured(engine, prometheus(web, count_query="count", is_sum=True))
    assert found == Measured(value_sum=59.7, sample_count=995)
    say_to_all(web, (vector("0.06"), 200), (vector(), 200))
    assert measured(engine, prometheus(web, count_query="count")) == Measured()


def test_prometheus_is_reduced_over_a_range(engine: Engine, web: Web) -> None:
    series = [{"metric": {}, "values": [[0, "1"], [60, "2"], [120, "6"]]}]
    body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": series}})
    say_to_all(web, (body, 200))
    for how, value in {"mean": 3.0, "max": 6.0, "min": 1.0, "last": 6.0}.items():
        source = prometheus(web, step_seconds=60, reduce=how)
        assert measured(engine, source).given_value == value
    assert "/api/v1/query_range?" in web.asked[0][0]
    say_to_all(web, (body.replace('"2"', '"NaN"'), 200))
    assert measured(engine, prometheus(web, step_seconds=60)).broken_rows == 1


@pytest.fixture(scope="module")
def warehouse(engine: Engine) -> Secrets:
    with engine.begin() as tx:
        tx.execute(text("CREATE TABLE request (version text, at timestamptz, failed boolean)"))
        tx.execute(
            text(
                "INSERT INTO request SELECT 'v2', :noon - make_interval(mins => n), n % 10 = 0 "
                "FROM generate_series(0, 99) n"
            ),
            {"noon": NOON},
        )
    url = engine.url.render_as_string(hide_password=False)
    return {SecretName(env="WAREHOUSE"): SecretStr(url), TOKEN: SecretStr("nonsense://hunter2")}


def queried(engine: Engine, secrets: Secrets, query: str, **more: Any) -> Measured:
    source = {"kind": "query", "url": {"env": "WAREHOUSE"}, "query": query} | more
    return measured(engine, source, secrets=secrets)


ALL = "FROM request WHERE version = :model_version"


def test_a_query_counts_what_lies_in_the_half_open_window(
    engine: Engine, warehouse: Secrets
) -> None:
    query = (
        "SELECT sum(failed::int) AS value_sum, count(*) AS sample_count "
        f"{ALL} AND at >= :window_start AND at < :window_end"
    )
    assert queried(engine, warehouse, query) == Measured(value_sum=6, sample_count=60)
    average = query.replace("sum(failed::int) AS value_sum", "avg(failed::int) AS value")
    average = average.replace("sample_count", "count")
    assert queried(engine, warehouse, average).given_value == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (f"SELECT avg(failed::int) AS value {ALL} AND false", Measured()),
        (f"SELECT 1 AS value {ALL} AND false", Measured()),
        (f"SELECT sum(1) AS value_sum, count(*) AS sample_count {ALL} AND false", Measured()),
        ("SELECT 'NaN'::float8 AS value WHERE :model_version <> ''", Measured(broken_rows=1)),
        ("SELECT '0.01' AS value WHERE :model_version <> ''", Measured(broken_rows=1)),
        ("SELECT true AS value WHERE :model_version <> ''", Measured(broken_rows=1)),
    ],
)
def test_a_query_without_a_number_measured_nothing(
    engine: Engine, warehouse: Secrets, query: str, found: Measured
) -> None:
    assert queried(engine, warehouse, query) == found


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("DELETE FROM request WHERE version = :model_version", "begins with delete"),
        (
            "SELECT nextval('alert_id_seq') AS value WHERE :model_version <> ''",
            "read-only transaction",
        ),
        ("SELECT 1 AS value; DROP TABLE request; SELECT :model_version", "several statements"),
        (f"SELECT failed AS value {ALL}", "more than one row"),
        (f"SELECT count(*) AS n {ALL}", "it must give value"),
        ("SELECT 1 AS value FROM gone WHERE :model_version <> ''", "does not exist"),
        ("SELECT 1 AS value FROM pg_sleep(5) WHERE :model_version <> ''", "statement timeout"),
    ],
)
def test_a_query_that_does_not_fit_is_unknown_and_changes_nothing(
    engine: Engine, warehouse: Secrets, query: str, said: str
) -> None:
    found = queried(engine, warehouse, query, timeout_seconds=0.2)
    assert said in (found.source_error or "")
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM request")) == 100


def test_another_database_than_postgres_is_asked_too(engine: Engine, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as shop:
        shop.execute("CREATE TABLE request (version text, at text, failed int)")
        rows = [("v2", f"2026-11-20 {hour}:30:00", hour % 2) for hour in (10, 11, 12)]
        shop.executemany("INSERT INTO request VALUES (?, ?, ?)", rows)
    shop.close()
    secrets = {SecretName(env="WAREHOUSE"): SecretStr(f"sqlite:///{tmp_path / 'shop.db'}")}
    counted = f"SELECT sum(failed) AS value_sum, count(*) AS sample_count {ALL}"
    query = f"{counted} AND at >= :window_start AND at < :window_end"
    assert queried(engine, secrets, query) == Measured(value_sum=1, sample_count=1)
    written = "INSERT INTO request VALUES (:model_version, '', 0) RETURNING 1 AS value"
    assert "begins with insert" in (queried(engine, secrets, written).source_error or "")


def test_a_database_url_never_shows(engine: Engine, warehouse: Secrets) -> None:
    query = f"SELECT 1 AS value {ALL}"
    found = queried(engine, warehouse, query, url={"env": "TOKEN"})
    assert found.source_error == "its database URL cannot be used"
    away = {TOKEN: SecretStr("postgresql://ann:hunter2@127.0.0.1:1/x")}
    found = queried(engine, away, query, url={"env": "TOKEN"})
    assert found.source_error == "the database could not be asked: OperationalError"
    missing = queried(engine, {}, query)
    assert missing.source_error == "its secret (env WAREHOUSE) could not be had"
