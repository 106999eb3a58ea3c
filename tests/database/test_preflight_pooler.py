"""A real PgBouncer, where one is installed: only the mode that shares backends is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
from sqlalchemy.engine import make_url

from tasks.migrations import environments
from tasks.migrations.preflight import probing

SETTINGS = """
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr =
listen_port = 6543
unix_socket_dir = {folder}
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
"""


@contextmanager
def pooler(server_url: str, mode: str, size: int) -> Iterator[str]:
    """URL of a PgBouncer before the test server."""
    program, server = shutil.which("pgbouncer"), make_url(server_url)
    host = str(server.query.get("host") or server.host or "localhost")
    if program is None or server.password:
        pytest.skip("PgBouncer is not installed, or the test server wants a password")
    with tempfile.TemporaryDirectory(prefix="pooler-", dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        port, user = server.query.get("port") or server.port or 5432, server.username
        settings = Path(folder) / "pgbouncer.ini"
        values = {"host": host, "port": port, "user": user, "folder": folder}
        settings.write_text(SETTINGS.format(**values, mode=mode, size=size))
        prefix = ["unshare", "--user", "--map-user=65534", "--map-group=65534"]
        command = [*(prefix if os.geteuid() == 0 else []), program, "-q", str(settings)]
        running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            _await_socket(Path(folder) / ".s.PGSQL.6543")
            query = urlencode({"host": folder, "port": 6543})
            yield f"postgresql+psycopg://{user}@/{server.database}?{query}"
        finally:
            running.terminate()
            running.wait(timeout=10)


def _await_socket(path: Path) -> None:
    deadline = time.monotonic() + 5
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("mode", "size", "expected"),
    [("transaction", 5, True), ("transaction", 1, True), ("session", 5, False)],
)
def test_s24_a_pooler_in_transaction_mode_is_recognised(
    server_url: str, mode: str, size: int, expected: bool
) -> None:
    with pooler(server_url, mode, size) as url:
        assert probing.is_pooled(environments.engine(url)) is expected
