"""What several modules share: the command line, and what health sources need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from tests.conftest import created_database
from tests.database.command_line import Answer, CommandLine
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


@pytest.fixture
def no_prefect_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Neither the person's own server nor the one of this session's tests of flows."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with temporary_settings({PREFECT_API_URL: None}):
        yield


@pytest.fixture
def command_line(
    database: Engine, capfd: pytest.CaptureFixture[str], no_prefect_server: None
) -> CommandLine:
    """Run `headway …` in this process."""
    from flows.cli import main

    def call(*words: str) -> Answer:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(words)
        said = capfd.readouterr()
        return Answer(int(ended.value.code or 0), said.out, said.err)

    return call
