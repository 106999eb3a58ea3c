"""One real Prefect server for the session (for each xdist worker), without heartbeats."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

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
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Prefect's own test harness, with a result storage that no other session has seen."""
    from prefect.settings import (
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_LOCAL_STORAGE_PATH,
        PREFECT_SERVER_ANALYTICS_ENABLED,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness

    quiet = {
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,  # the thread costs a second a flow
        PREFECT_SERVER_ANALYTICS_ENABLED: False,
        PREFECT_LOCAL_STORAGE_PATH: str(tmp_path_factory.mktemp("results")),
    }
    with temporary_settings(quiet), prefect_test_harness(server_startup_timeout=90):
        yield


@pytest.fixture(autouse=True)
def _on_prefect_server(prefect_server: None) -> None:
    """Every test of this folder runs its flows on that server."""
