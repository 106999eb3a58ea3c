"""A Postgres of an older major version beside the embedded one, where it is installed."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest

BINARIES = Path("/usr/lib/postgresql/15/bin")


@contextmanager
def running() -> Iterator[str]:
    """URL of a throw-away Postgres 15; the test is skipped where that is not installed."""
    if not (BINARIES / "postgres").exists():
        pytest.skip(f"Postgres 15 is not installed in {BINARIES}")
    with tempfile.TemporaryDirectory(prefix="pg15-", dir="/tmp") as folder:
        cluster = Path(folder) / "cluster"
        prefix = _prefix()
        initdb = [BINARIES / "initdb", "-D", cluster, "-U", "postgres", "-A", "trust", "--no-sync"]
        made = [*prefix, *map(str, initdb), "--encoding=UTF8", "--locale=C"]
        subprocess.run(made, cwd="/", check=True, capture_output=True)
        settings = ["fsync=off", "listen_addresses=", f"unix_socket_directories={folder}"]
        options = [part for setting in settings for part in ("-c", setting)]
        log = (Path(folder) / "log").open("wb")
        server = subprocess.Popen(
            [*prefix, str(BINARIES / "postgres"), "-D", str(cluster), *options],
            cwd="/",
            stderr=log,
            stdout=log,
        )
        try:
            _await_ready(server, cluster)
            yield f"postgresql+psycopg://postgres@/postgres?{urlencode({'host': folder})}"
        finally:
            server.terminate()
            server.wait(timeout=20)
            log.close()


def _prefix() -> list[str]:
    """Postgres does not run as root: in a namespace of its own root has another name."""
    if os.geteuid() != 0:
        return []
    prefix = ["unshare", "--user", "--map-user=65534", "--map-group=65534"]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("root may not make a user namespace here, and Postgres does not run as root")
    return prefix


def _await_ready(server: subprocess.Popen[bytes], cluster: Path) -> None:
    deadline = time.monotonic() + 30
    pid_file = cluster / "postmaster.pid"
    while time.monotonic() < deadline and server.poll() is None:
        if pid_file.exists() and pid_file.read_text().rstrip().endswith("ready"):
            return
        time.sleep(0.02)
    raise AssertionError("Postgres 15 did not start")
