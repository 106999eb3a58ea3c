"""One real Prefect server for the session (for each xdist worker), without heartbeats."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

# Prefect leaves sockets of its clients to the garbage collector, which finds them at any time,
# also in later tests of other folders and after the last.
_LEFT_BY_PREFECT = "Exception ignored in. <socket.socket"


def pytest_configure(config: pytest.Config) -> None:
    """Tolerate it while tests run."""
    line = f"ignore:{_LEFT_BY_PREFECT}:pytest.PytestUnraisableExceptionWarning"
    config.addinivalue_line("filterwarnings", line)


def pytest_unconfigure() -> None:
    """Tolerate it after the last test."""
    warnings.filterwarnings("ignore", _LEFT_BY_PREFECT, pytest.PytestUnraisableExceptionWarning)


@pytest.fixture(scope="session")
def prefect_server(
    prefect_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Prefect's own test harness, with a result storage that no other session has seen."""
    from prefect.settings import (
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_LOCAL_STORAGE_PATH,
        PREFECT_SERVER_ANALYTICS_ENABLED,
        temporary_settings,
    )
    from prefect.testing import utilities

    def folder_with_database() -> str:
        home = mkdtemp()
        shutil.copy(prefect_database, Path(home) / "prefect-test.db")
        return home

    quiet = {
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,  # the thread costs a second a flow
        PREFECT_SERVER_ANALYTICS_ENABLED: False,
        PREFECT_LOCAL_STORAGE_PATH: str(tmp_path_factory.mktemp("results")),
    }
    with pytest.MonkeyPatch.context() as patch, temporary_settings(quiet):
        patch.setattr(utilities, "mkdtemp", folder_with_database)
        with utilities.prefect_test_harness(server_startup_timeout=90):
            yield


@pytest.fixture(autouse=True)
def _on_prefect_server(prefect_server: None) -> None:
    """Every test of this folder runs its flows on that server."""
