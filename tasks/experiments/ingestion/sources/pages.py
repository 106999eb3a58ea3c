"""Pages of JSON over HTTP: each names the next one, by a link, a pointer into it, or a number."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date
from typing import Any

from tasks.errors import ConfigurationError, InputError, TransientError
from tasks.experiments.ingestion.sources.model import DAY, PagesSource
from tasks.experiments.ingestion.sources.registry import Piece, sources
from tasks.experiments.ingestion.values import BrokenRow, parse_json
from tasks.web.addresses import (
    followed,
    parameter,
    with_parameter,
    without_query,
)
from tasks.web.fetching import Fetched, Limits, fetch
from tasks.web.pointers import pointed

_LINES = ("ndjson", "jsonl", "json-lines", "x-json-stream")


@sources.register("pages")
def read_page(source: PagesSource, place: str | None, day: date | None) -> Piece:
    """The rows of one page, and the address of the next."""
    url = place or _first(source, day)
    page = _fetched(source, url)
    document = None if _is_lines(page, source) else _document(page)
    rows = _lines(page) if document is None else _rows(document, source.rows, url)
    found = next_page(source, page, document, is_empty=not rows)
    if found == url:
        raise InputError(f"{without_query(url)} names itself as its next page")
    return Piece(iter(rows), found)


def _fetched(source: PagesSource, url: str) -> Fetched:
    import httpx

    try:
        return fetch(
            url,
            Limits(source.timeout_seconds, source.max_bytes),
            headers=_headers(source.authorization_env),
        )
    except httpx.TransportError as error:
        kind = type(error).__name__
        raise TransientError(f"{without_query(url)} cannot be read: {error or kind}") from None


def next_page(source: PagesSource, page: Fetched, document: Any, *, is_empty: bool) -> str | None:
    """The address of the next page; None after the last."""
    if source.next == "number":
        number = int(parameter(page.url, source.page_parameter) or source.first_page)
        return None if is_empty else _numbered(source, page.url, number + 1)
    link = page.next_link if source.next == "link" else None
    if source.next == "pointer":
        link = pointed(document, source.next_pointer)
    if link is None or link == "":
        return None
    if source.cursor_parameter and source.next == "pointer":
        return with_parameter(page.url, source.cursor_parameter, str(link))
    return followed(page.url, str(link))


def _first(source: PagesSource, day: date | None) -> str:
    url = source.url.replace(DAY, day.isoformat()) if day else source.url
    return _numbered(source, url, source.first_page) if source.next == "number" else url


def _numbered(source: PagesSource, url: str, number: int) -> str:
    return with_parameter(url, source.page_parameter, str(number))


def _headers(authorization_env: str | None) -> dict[str, str]:
    headers = {"Accept": "application/json, application/x-ndjson"}
    name = authorization_env
    if name is None:
        return headers
    if not os.environ.get(name):
        raise ConfigurationError(
            f"environment variable {name} is not set; it must hold the Authorization header"
        )
    return headers | {"Authorization": os.environ[name]}


def _is_lines(page: Fetched, source: PagesSource) -> bool:
    if source.rows or source.next == "pointer":
        return False
    if any(kind in page.content_type for kind in _LINES):
        return True
    return page.body.lstrip()[:1] == b"{" and not _is_envelope(page)


def _is_envelope(page: Fetched) -> bool:
    """True for one object that is no row: the rows are somewhere within."""
    try:
        found = parse_json(page.body.decode("utf-8-sig"))
    except ValueError:
        return False
    return "user_id" not in found


def _document(page: Fetched) -> Any:
    try:
        return parse_json(page.body.decode("utf-8-sig"))
    except ValueError:
        raise InputError(
            f"{without_query(page.url)} did not answer with JSON, or nested too deeply"
        ) from None


def _rows(document: Any, pointer: str, url: str) -> list[Any]:
    found = pointed(document, pointer)
    if not isinstance(found, list):
        at = f"at {pointer}" if pointer else "as a whole"
        raise InputError(
            f"{without_query(url)}: the answer {at} is not an array of rows{_hint(found, pointer)}"
        )
    return [
        row if isinstance(row, dict) else BrokenRow("broken-row", "it is not a JSON object", row)
        for row in found
    ]


def _hint(found: Any, pointer: str) -> str:
    """Where the rows may be instead."""
    if not isinstance(found, dict):
        return ""
    arrays = [name for name, value in found.items() if isinstance(value, list)]
    name = arrays[0].replace("~", "~0").replace("/", "~1") if arrays else "NAME"
    example = f"--option rows={pointer}/{name}"
    return f" but an object ({', '.join(found)[:200]}); say where they are, for example `{example}`"


def _lines(page: Fetched) -> list[Any]:
    return list(_parsed(page.body.decode("utf-8-sig", "surrogateescape")))


def _parsed(text: str) -> Iterator[Any]:
    for line in text.split("\n"):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError:
            row = None
        is_row = isinstance(row, dict)
        yield row if is_row else BrokenRow("broken-row", "the line is not a JSON object", line)
