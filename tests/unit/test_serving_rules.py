"""What serving decides without a database: how often a key may ask, whether an answer is old."""

from __future__ import annotations

from html import escape
from pathlib import Path

import pytest
from fastapi.exceptions import RequestValidationError
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from tasks.errors import DatabaseUnavailable
from tasks.serving.app import create_app, serving_engine
from tasks.serving.failures import answer, problem_of
from tasks.serving.limits import RateLimiter
from tasks.serving.ofrep import is_match
from tasks.serving.page import render
from tasks.serving.wire import Problem, as_jsonb, storable


def missing(*place: str) -> dict[str, object]:
    return {"type": "missing", "loc": place, "msg": "Field required", "input": None}


def test_a_key_may_use_up_its_minute_at_once_and_then_waits_for_the_next_token() -> None:
    seconds = [100.0]
    limiter = RateLimiter(clock=lambda: seconds[0])
    assert [limiter.seconds_to_wait(1, 60) for _ in range(60)] == [0.0] * 60
    assert limiter.seconds_to_wait(1, 60) == pytest.approx(1)
    assert limiter.seconds_to_wait(2, 60) == 0
    seconds[0] += 1
    assert limiter.seconds_to_wait(1, 60) == 0
    assert limiter.seconds_to_wait(1, 60) == pytest.approx(1)


@given(st.integers(1, 1000), st.lists(st.floats(0, 90), max_size=50))
def test_nobody_gets_more_than_a_minute_ahead_of_the_limit(
    per_minute: int, pauses: list[float]
) -> None:
    seconds, admitted = [0.0], 0
    limiter = RateLimiter(clock=lambda: seconds[0])
    for pause in pauses:
        seconds[0] += pause
        admitted += limiter.seconds_to_wait(1, per_minute) == 0
        assert admitted <= per_minute * (1 + seconds[0] / 60) + 1e-6


def test_every_address_is_in_the_documents_and_says_what_it_does() -> None:
    app = create_app(serving_engine("postgresql://localhost/none"))
    page = (Path(__file__).parents[2] / "docs/serving.md").read_text("utf-8")
    for path, operations in app.openapi()["paths"].items():
        assert path.partition("{")[0] in page
        for operation in operations.values():
            assert operation["summary"]
            assert operation["description"]
            assert "422" not in operation["responses"]


def test_the_page_shows_every_operation_and_loads_nothing_from_elsewhere() -> None:
    document = create_app(serving_engine("postgresql://localhost/none")).openapi()
    page = render(document)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert f"{method.upper()} {path}" in page
            assert escape(operation["summary"]) in page
    assert "http" not in page
    assert "<script" not in page
    assert "<td><code>eventId</code></td><td>optional" in page


def test_an_etag_is_compared_weakly_and_in_lists() -> None:
    assert is_match('"a"', '"a"')
    assert is_match('"b", W/"a"', '"a"')
    assert is_match("*", '"a"')
    assert not is_match('"b"', '"a"')
    assert not is_match("", '"a"')


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Problem(404, "NOT_FOUND", "none"), 404, "NOT_FOUND"),
        (HTTPException(413, "too large"), 413, "GENERAL"),
        (PoolTimeout(), 503, "GENERAL"),
        (DatabaseUnavailable("gone"), 503, "GENERAL"),
        (ValueError("jane-doe"), 500, "GENERAL"),
        (RequestValidationError([missing("body")]), 400, "PARSE_ERROR"),
        (RequestValidationError([missing("query", "userId")]), 400, "INVALID_REQUEST"),
    ],
)
def test_every_error_has_a_status_a_code_and_words(
    error: Exception, status: int, code: str
) -> None:
    problem = problem_of(error)
    assert (problem.status, problem.code) == (status, code)
    assert problem.details
    assert "jane" not in problem.details


def test_an_error_speaks_the_protocol_it_was_asked_in() -> None:
    problem = Problem(404, "NOT_FOUND", "none")
    ofrep = answer("/ofrep/v1/evaluate/flags/v2", "v2", problem)
    assert ofrep.body == b'{"key":"v2","errorCode":"FLAG_NOT_FOUND","errorDetails":"none"}'
    plain = answer("/v1/track", None, problem)
    assert plain.body == b'{"errorCode":"NOT_FOUND","errorDetails":"none"}'


def test_what_postgres_cannot_hold_is_refused_before_it_is_asked() -> None:
    for text in ("a\0", "\ud800"):
        with pytest.raises(ValueError, match="NUL character"):
            storable(text)
    with pytest.raises(ValueError, match="Unicode"):
        as_jsonb({"a": "\ud800"})
    deep: dict[str, object] = {}
    for _ in range(20_000):
        deep = {"a": deep}
    with pytest.raises(ValueError, match="nested"):
        as_jsonb(deep)
