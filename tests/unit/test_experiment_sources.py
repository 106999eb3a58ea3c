from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from pydantic import TypeAdapter, ValidationError

from flows.commands.ingesting import described
from tasks.errors import InputError
from tasks.experiments.ingestion.sources.model import FileSource, PagesSource, QuerySource, Source
from tasks.web.addresses import followed, with_parameter
from tasks.web.fetching import wait_seconds
from tasks.web.pointers import pointed

NOTHING = dict.fromkeys(
    ("aggregates", "query", "url", "name", "connection", "experiment", "batch_size", "day")
)
HERE = "https://shop.example/events?page=1"


@pytest.mark.parametrize(
    ("link", "leads_to"),
    [
        ("?page=2", "https://shop.example/events?page=2"),
        ("/other", "https://shop.example/other"),
        ("https://shop.example:443/x", "https://shop.example:443/x"),
        ("https://elsewhere.example/x", None),
        ("//elsewhere.example/x", None),
        ("https://shop.example:8443/x", None),
        ("http://shop.example/x", None),
        ("file:///etc/passwd", None),
        ("https://user:secret@shop.example/x", None),
    ],
)
def test_a_link_stays_on_its_host_and_out_of_plain_http(link: str, leads_to: str | None) -> None:
    if leads_to is not None:
        assert followed(HERE, link) == leads_to
        return
    with pytest.raises(InputError) as caught:
        followed(HERE, link)
    assert "secret" not in str(caught.value)


def test_a_host_may_ask_for_https() -> None:
    assert followed("http://shop.example/x", "https://shop.example/x") == "https://shop.example/x"


def test_a_parameter_takes_the_place_of_the_one_before() -> None:
    assert with_parameter("http://h/p?a=1&page=1&b=", "page", "2") == "http://h/p?a=1&b=&page=2"


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (None, 0),
        ("7", 7),
        ("-3", 0),
        ("86400", 60),
        ("nan", 0),
        ("soon", 0),
        ("Fri, 02 Jan 2026 00:00:30 GMT", 30),
        ("Fri, 02 Jan 2026 00:00:30 -0000", 30),
        ("Thu, 01 Jan 2026 00:00:00 GMT", 0),
    ],
)
def test_a_server_is_waited_for_as_it_asks_but_not_for_ever(
    said: str | None, seconds: float
) -> None:
    assert wait_seconds(said, datetime(2026, 1, 2, tzinfo=UTC)) == seconds


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("", {"a/b": [{"~": 1}, 2]}),
        ("/a~1b/0/~0", 1),
        ("/a~1b/1", 2),
        ("/a~1b/2", None),
        ("/a~1b/-1", None),
        ("/nowhere/else", None),
    ],
)
def test_a_json_pointer_finds_what_it_names(pointer: str, found: Any) -> None:
    assert pointed({"a/b": [{"~": 1}, 2]}, pointer) == found


def test_a_source_asks_for_a_day_only_where_its_words_do() -> None:
    query = QuerySource(connection="URL", query="SELECT * FROM t WHERE d::date = :day")
    assert query.asks_for_day
    assert not QuerySource(
        connection="URL", query="SELECT '12:30'::time, x::day FROM t"
    ).asks_for_day
    assert FileSource(path="events-{day}.csv").asks_for_day
    assert not FileSource(path="events.csv").asks_for_day
    assert PagesSource(url="http://h/{day}").asks_for_day


def test_a_label_shows_no_parameter_of_an_address() -> None:
    assert PagesSource(url="https://h/p?token=hunter2#x").label == "https://h/p"


@pytest.mark.parametrize(
    ("path", "options", "given", "source"),
    [
        (None, (), {"url": "http://h/x"}, {"kind": "pages", "url": "http://h/x"}),
        (
            None,
            ("next=number", 'parameters={"a": 1}'),
            {"query": "SELECT 1", "connection": "URL", "day": datetime(2026, 1, 5, tzinfo=UTC)},
            {
                "kind": "query",
                "query": "SELECT 1",
                "connection": "URL",
                "day": "2026-01-05",
                "next": "number",
                "parameters": {"a": 1},
            },
        ),
        ("/{day}", (), {"batch_size": 5}, {"kind": "file", "path": "/{day}", "batch_size": 5}),
    ],
)
def test_the_command_s_options_describe_one_source(
    path: str | None, options: tuple[str, ...], given: dict[str, Any], source: dict[str, Any]
) -> None:
    assert described(path, options, NOTHING | given) == source


def test_a_query_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "q.sql").write_text("SELECT 2", "utf-8")
    found = described(None, (), NOTHING | {"query": f"@{tmp_path / 'q.sql'}", "connection": "URL"})
    assert found["query"] == "SELECT 2"


@pytest.mark.parametrize("given", [{}, {"query": "SELECT 1", "url": "http://h"}])
def test_no_source_and_two_sources_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(click.UsageError, match="name one source"):
        described(None, (), NOTHING | given)


def test_an_unknown_field_of_a_source_is_refused() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(Source)
    with pytest.raises(ValidationError, match="Extra inputs"):
        adapter.validate_python({"kind": "file", "path": "x", "next": "link"})
