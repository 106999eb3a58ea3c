"""Rows from a query, from pages over HTTP, from what others aggregated, and from other packages."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError

from flows.ingest import ingest_events
from flows.pipeline import run_by_ledger
from tasks.errors import ConfigurationError, InputError
from tasks.experiments.ingestion.results import Ingested
from tasks.experiments.ingestion.sources.registry import Piece, sources
from tasks.foreign.reading import read_only_connection
from tests.database.experiments import assignment, event, load, start
from tests.database.web import Web, web_server
from tests.rows import rows_of

VALUES = (
    "SELECT user_id, event_value FROM ab_metrics m JOIN ab_assignments a ON a.id = m.assignment_id "
    "ORDER BY 1, 2"
)
BY_DAY = (
    "SELECT 'buttons' AS experiment, who AS user_id, 'buy' AS event_type, spent AS event_value, "
    "happened AS event_timestamp FROM sale WHERE date(happened) = :day ORDER BY random()"
)


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as server:
        yield server


@pytest.fixture
def units(database: Engine, tmp_path: Path) -> Engine:
    """An experiment with two units."""
    start()
    load(tmp_path, [assignment("u1", "red"), assignment("u2", "control")], name="units")
    return database


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sqlite3.Connection:
    """A database of somebody else's, named by the variable SHOP_URL."""
    connection = sqlite3.connect(tmp_path / "shop.db", isolation_level=None)
    connection.execute("CREATE TABLE sale (who text, spent real, happened text)")
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{tmp_path / 'shop.db'}")
    return connection


def ingest(**source: Any) -> Ingested:
    return run_by_ledger(ingest_events, {"source": source})


def query(**changes: Any) -> Ingested:
    given = {"kind": "query", "connection": "SHOP_URL", "query": BY_DAY, "day": "2026-01-05"}
    return ingest(**(given | changes))


def sell(shop: sqlite3.Connection, *rows: tuple[str, float, str]) -> None:
    shop.executemany("INSERT INTO sale VALUES (?, ?, ?)", rows)


def test_a_day_of_a_query_is_loaded_once_however_often_and_in_whatever_order(
    units: Engine, shop: sqlite3.Connection
) -> None:
    noon = "2026-01-05 12:00:00"
    sell(shop, ("u1", 5, noon), ("u1", 5, noon), ("u2", 3, noon), ("u2", 9, "2026-01-06 12:00:00"))
    assert query(batch_size=2).events == 3
    again = query(batch_size=1000)
    assert (again.events, again.duplicates) == (0, 3)
    sell(shop, ("u2", 4, noon))  # it came late
    assert query().events == 1
    again = query()  # in an order of its own, or by chance in one that is known
    assert again.is_known or (again.events, again.duplicates) == (0, 4)
    assert rows_of(units, VALUES) == [("u1", 5.0), ("u1", 5.0), ("u2", 3.0), ("u2", 4.0)]
    assert rows_of(units, "SELECT DISTINCT source FROM ab_metrics") == [("query",)]


def test_a_query_without_a_day_gets_yesterday(units: Engine, shop: sqlite3.Connection) -> None:
    (now,) = rows_of(units, "SELECT headway.clock_now()::date")[0]
    yesterday = now - timedelta(days=1)
    sell(shop, ("u1", 1, f"{yesterday} 10:00:00"), ("u1", 2, f"{yesterday - timedelta(days=1)}"))
    assert query(day=None).events == 1


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"query": "SELECT 1 AS n"}, InputError, "no column user_id"),
        ({"query": "SELECT 1 AS user_id, 2 AS user_id"}, InputError, "same name"),
        ({"query": "DELETE FROM sale"}, InputError, "begins with delete"),
        ({"query": "DROP TABLE sale"}, InputError, "begins with drop"),
        ({"query": "WITH a AS (SELECT 1) DELETE FROM sale"}, InputError, "says DELETE"),
        ({"query": "SELECT 1 AS user_id; DROP TABLE sale"}, InputError, "several statements"),
        ({"query": "SELECT * FROM nowhere"}, InputError, "query on SHOP_URL failed: no such table"),
        ({"parameters": {"dya": 1}}, InputError, "missing none, unused dya"),
        ({"query": BY_DAY + " LIMIT :most"}, InputError, "missing most"),
        ({"connection": "NO_SUCH_URL"}, ConfigurationError, "neither an environment variable"),
        ({"connection": "ODD_URL"}, ConfigurationError, "the URL in ODD_URL cannot be used"),
    ],
)
def test_a_query_that_cannot_give_rows_is_refused_and_shows_no_secret(
    units: Engine,
    shop: sqlite3.Connection,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    sell(shop, ("u1", 5, "2026-01-05 12:00:00"))
    monkeypatch.setenv("ODD_URL", "nosuch://user:hunter2@host/db")
    with pytest.raises(error, match=message) as caught:
        query(**changes)
    assert "hunter2" not in str(caught.value)
    assert shop.execute("SELECT count(*) FROM sale").fetchone() == (1,)


def test_a_connection_to_another_database_writes_nothing(shop: sqlite3.Connection) -> None:
    engine = create_engine(os.environ["SHOP_URL"])
    with (
        read_only_connection(engine) as connection,
        pytest.raises(OperationalError, match="readonly database"),
    ):
        connection.exec_driver_sql("DROP TABLE sale")
    engine.dispose()
    assert shop.execute("SELECT count(*) FROM sale").fetchone() == (0,)


def test_a_query_of_postgres_reads_only(units: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", units.url.render_as_string(False))
    writing = "SELECT nextval(pg_get_serial_sequence('waiting_event', 'id')) AS user_id"
    with pytest.raises(InputError, match=r"query on OURS failed: .*read-only transaction"):
        query(connection="OURS", query=writing, day=None)
    typed = (
        "SELECT 'buttons' AS experiment, 'u1' AS user_id, 'buy' AS event_type, 1.5::numeric AS "
        "event_value, timestamptz '2026-01-05' AS event_timestamp, '{\"a\": 1}'::jsonb AS "
        "event_data, gen_random_uuid() AS event_id"
    )
    assert query(connection="OURS", query=typed, day=None).events == 1


def test_pages_are_read_by_the_link_that_each_names(
    units: Engine, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "Bearer hunter2")
    first = [event("u1", 1, "e1"), event("u2", 2, "e2"), "no row"]
    web.say("/events?day=2026-01-05", json.dumps(first), Link='</events?page=2>; rel="next"')
    web.say("/events?page=2", json.dumps([event("u1", 3, "e3")]))
    source = {
        "kind": "pages",
        "url": f"{web.url}/events?day={{day}}",
        "day": "2026-01-05",
        "authorization_env": "SHOP_TOKEN",
    }
    loaded = ingest(**source)
    assert (loaded.batches, loaded.events, loaded.reasons) == (2, 3, {"broken-row": 1})
    assert {asked for _, asked in web.asked} == {"Bearer hunter2"}
    assert ingest(**source).is_known
    assert rows_of(units, "SELECT count(*) FROM headway.step WHERE inputs::text ~ 'hunter2'") == [
        (0,)
    ]


def test_pages_are_read_by_number_by_pointer_and_as_lines(units: Engine, web: Web) -> None:
    web.say("/n?page=1", json.dumps([event("u1", 1, "e1")]))
    web.say("/n?page=2", "[]")
    assert ingest(kind="pages", url=f"{web.url}/n", next="number").events == 1
    page = {"data": {"rows": [event("u1", 2, "e2")]}, "cursor": "a b"}
    web.say("/p", json.dumps(page))
    web.say("/p?after=a+b", json.dumps({"data": {"rows": []}, "cursor": None}))
    named = {"rows": "/data/rows", "next_pointer": "/cursor", "cursor_parameter": "after"}
    assert ingest(kind="pages", url=f"{web.url}/p", next="pointer", **named).events == 1
    lines = f"{json.dumps(event('u1', 3, 'e3'))}\n\nbroken\n"
    web.say("/lines", lines, Content_Type="application/x-ndjson")
    read = ingest(kind="pages", url=f"{web.url}/lines")
    assert (read.events, read.reasons) == (1, {"broken-row": 1})


def test_a_server_that_is_busy_is_asked_again_when_it_says(units: Engine, web: Web) -> None:
    web.say("/busy", status=429, Retry_After="0")
    web.say("/busy", status=503)
    web.say("/busy", json.dumps([event("u1", 1, "e1")]))
    assert ingest(kind="pages", url=f"{web.url}/busy").events == 1
    assert len(web.asked) == 3


def test_redirects_and_links_stay_on_their_host(units: Engine, web: Web) -> None:
    web.say("/moved", status=302, Location="/there")
    web.say("/there", json.dumps([event("u1", 1, "e1")]))
    assert ingest(kind="pages", url=f"{web.url}/moved").events == 1
    with web_server() as other:
        web.say("/away", status=302, Location=f"{other.url}/secret")
        web.say("/link", "[]", Link=f'<{other.url}/secret>; rel="next"')
        for path in ("/away", "/link"):
            with pytest.raises(InputError, match="must stay on their host"):
                ingest(kind="pages", url=f"{web.url}{path}")
        assert other.asked == []


@pytest.mark.parametrize(
    ("body", "status", "changes", "message"),
    [
        ("[]", 404, {}, "answered 404"),
        ("<html>", 200, {"next": "pointer"}, "did not answer with JSON"),
        ('{"rows": 1}', 200, {"rows": "/rows"}, "at /rows is not an array"),
        ("[" + " " * 1000 + "]", 200, {"max_bytes": 500}, "more than 500 bytes"),
        ("[]", 302, {}, "answered 302"),
    ],
)
def test_an_answer_that_cannot_be_used_says_why(
    database: Engine, web: Web, body: str, status: int, changes: dict[str, Any], message: str
) -> None:
    web.say("/x?token=hunter2", body, status)
    with pytest.raises(InputError, match=message) as caught:
        ingest(kind="pages", url=f"{web.url}/x?token=hunter2", **changes)
    assert "hunter2" not in str(caught.value)


def test_pages_without_end_are_stopped(units: Engine, web: Web) -> None:
    web.say("/a", "[]", Link='</b>; rel="next"')
    web.say("/b", "[]", Link='</a>; rel="next"')
    with pytest.raises(InputError, match="more than 5 pages"):
        ingest(kind="pages", url=f"{web.url}/a", max_pages=5)
    web.say("/self", "[]", Link='</self>; rel="next"')
    with pytest.raises(InputError, match="names itself"):
        ingest(kind="pages", url=f"{web.url}/self")


@pytest.mark.parametrize(
    "url", ["ftp://host/x", "file:///etc/passwd", "https://u:p@host/x", "http://"]
)
def test_an_address_that_is_no_page_is_refused(database: Engine, url: str) -> None:
    with pytest.raises(InputError, match="parameters of ingest-events do not fit"):
        ingest(kind="pages", url=url)


STATISTICS = """experiment,variant,metric,observed_at,assigned,n,mean,variance,m2
buttons,control,spend,2026-01-02,1000,900,3.5,2.25,
buttons,red,spend,2026-01-02,1010,905,3.7,,2260
buttons,red,spend,2026-01-03,2010,1905,3.8,2.5,
buttons,green,spend,2026-01-02,9,9,1,1,
buttons,red,clicks,2026-01-02,9,9,1,1,
buttons,red,spend,2100-01-01,9,9,1,1,
buttons,red,spend,2026-01-04,8,9,1,1,
buttons,red,spend,2026-01-04,9,9,1,1,1
"""
AGGREGATES = (
    "SELECT variant_name, observed_at::date::text, assigned, n, mean, m2 "
    "FROM aggregate_statistic a JOIN ab_variants v ON v.id = a.variant_id ORDER BY 1, 2"
)


def test_statistics_of_others_are_loaded_once_and_replaced_when_corrected(
    database: Engine, tmp_path: Path
) -> None:
    start()
    path = tmp_path / "statistics.csv"
    path.write_text(STATISTICS, "utf-8")
    loaded = ingest(kind="aggregates", path=str(path))
    assert (loaded.statistics, loaded.rejected) == (3, 5)
    assert loaded.reasons == {
        "unknown-variant": 1,
        "unknown-metric": 1,
        "future-timestamp": 1,
        "bad-number": 1,
        "missing-variance": 1,
    }
    assert rows_of(database, AGGREGATES) == [
        ("control", "2026-01-02", 1000, 900, 3.5, 2.25 * 899),
        ("red", "2026-01-02", 1010, 905, 3.7, 2260.0),
        ("red", "2026-01-03", 2010, 1905, 3.8, 2.5 * 1904),
    ]
    again = ingest(kind="aggregates", path=str(path))
    assert (again.statistics, again.corrected) == (0, 0)
    path.write_text("\n".join(STATISTICS.split("\n")[:2]).replace("3.5", "3.6"), "utf-8")
    assert ingest(kind="aggregates", path=str(path)).corrected == 1
    assert rows_of(database, AGGREGATES)[0][4] == 3.6


def test_another_package_s_source_is_loaded_by_its_name(units: Engine) -> None:
    def read(source: Any, place: str | None, day: date | None) -> Piece:
        number = int(place or 0)
        row = event("u1", number, event_timestamp=f"{day}T00:00:00Z")
        return Piece(iter([row]), None if number == source.options["pages"] else str(number + 1))

    sources.register("queue")(read)
    try:
        loaded = ingest(kind="other", name="queue", options={"pages": 2}, day="2026-01-05")
    finally:
        del sources._items["queue"]
    assert (loaded.batches, loaded.events) == (3, 3)
    with pytest.raises(InputError, match="known: pages, query"):
        ingest(kind="other", name="queue")


def test_a_file_is_chosen_by_the_day_in_its_path(units: Engine, tmp_path: Path) -> None:
    load(tmp_path, [event("u1", 1, "e1")], name="events-2026-01-05")
    with units.begin() as connection:
        connection.execute(text("TRUNCATE ab_metrics, ingest_batch, rejected_row CASCADE"))
    path = str(tmp_path / "events-{day}.jsonl")
    assert ingest(kind="file", path=path, day="2026-01-05").events == 1
    with pytest.raises(InputError, match=r"events-2026-01-06.jsonl is not a file"):
        ingest(kind="file", path=path, day="2026-01-06")
