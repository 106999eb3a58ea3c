"""What the tests of health sources share: a database, a web server, and tries without a pause."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from tests.conftest import created_database
from tests.database.web import Web, web_server


@pytest.fixture(scope="module")
def engine(server_url: str, template: str) -> Iterator[Engine]:
    """One database for all tests of a module: most sources lie elsewhere."""
    with created_database(server_url, template) as made:
        yield made


@pytest.fixture
def web() -> Iterator[Web]:
    """A web server that says what it is told to."""
    with web_server() as server:
        yield server


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once."""
    monkeypatch.setattr("tasks.retries.FIRST_DELAY_SECONDS", 0.001)
