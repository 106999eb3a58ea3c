"""What the cases run in: a throw-away Postgres and a Prefect server of their own."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.embedded.locks import is_locked


@contextmanager
def control_database(*, fsync: bool) -> Iterator[None]:
    """A fresh embedded Postgres as the control database; without fsync the disk does not count."""
    from tasks import database
    from tasks.settings import load_settings

    with tempfile.TemporaryDirectory(prefix="headway-bench-") as folder:
        for name in [name for name in os.environ if name.startswith("HEADWAY_")]:
            del os.environ[name]
        os.environ["HEADWAY_DATA_DIR"] = str(Path(folder))
        os.environ["HEADWAY_EMBEDDED_FSYNC"] = str(fsync)
        load_settings.cache_clear()
        database.embedded_server.cache_clear()
        database.forget_control_engine()
        database.control_engine()
        try:
            yield
        finally:
            database.forget_control_engine()
            server = database.embedded_server()
            server.close()
            _await_end(server.data_dir)


def _await_end(data_dir: Path) -> None:
    # Its folder goes next; a server that still writes there would be in the way.
    while is_locked(data_dir / "server.lock") or is_locked(data_dir / "watcher.lock"):
        time.sleep(0.02)


@contextmanager
def prefect_server() -> Iterator[None]:
    """Prefect's test server, without the heartbeat that adds a second to every flow."""
    from prefect.settings import (
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_LOGGING_LEVEL,
        PREFECT_LOGGING_TO_API_ENABLED,
        PREFECT_SERVER_ANALYTICS_ENABLED,
        PREFECT_SERVER_LOGGING_LEVEL,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness

    quiet = {
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        PREFECT_LOGGING_LEVEL: "ERROR",
        PREFECT_LOGGING_TO_API_ENABLED: False,
        PREFECT_SERVER_ANALYTICS_ENABLED: False,
        PREFECT_SERVER_LOGGING_LEVEL: "CRITICAL",  # it complains of being stopped
    }
    with temporary_settings(quiet), prefect_test_harness(server_startup_timeout=90):
        logging.getLogger("prefect").setLevel(logging.ERROR)
        yield
