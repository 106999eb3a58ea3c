"""What the cases run in: a throw-away Postgres and a Prefect server of their own."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
            database.embedded_server().close()


@contextmanager
def prefect_server() -> Iterator[None]:
    """Prefect's test server, without the heartbeat that adds a second to every flow."""
    from prefect.settings import (
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_LOGGING_LEVEL,
        PREFECT_LOGGING_TO_API_ENABLED,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness

    quiet = {
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        PREFECT_LOGGING_LEVEL: "ERROR",
        PREFECT_LOGGING_TO_API_ENABLED: False,
    }
    with temporary_settings(quiet), prefect_test_harness(server_startup_timeout=90):
        logging.getLogger("prefect").setLevel(logging.ERROR)
        yield
