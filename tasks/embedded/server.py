"""Start the embedded Postgres, or join the one that runs."""

from __future__ import annotations

import fcntl
import os
import secrets
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from tasks.embedded import cluster
from tasks.embedded.cluster import Running
from tasks.embedded.isolation import (
    Isolation,
    bundled_install,
    choose_place,
    cluster_folder,
)
from tasks.embedded.locks import is_locked, locked, wait_for_lock
from tasks.errors import EmbeddedPostgresError

_START_SECONDS = 60.0
_ANSWER_SECONDS = 10.0

# Stops what runs once nobody uses it, and goes on until no process of the server is left.
_WATCH = """
lock=$1 socket=$2; shift 2
while [ -e "$lock" ] && ! flock --nonblock "$lock" true; do "$@"; sleep 0.05; done
rm -f "$socket"/.s.PGSQL.*
rmdir "$socket"
"""


@dataclass(slots=True)
class EmbeddedServer:
    """One user's hold on the embedded Postgres: it runs at least until this is closed."""

    data_dir: Path
    running: Running
    _users: int | None

    def url(self, database: str = "headway") -> str:
        """SQLAlchemy URL (psycopg 3) over the Unix socket; there is no password in it."""
        where = urlencode({"host": self.running.socket, "port": self.running.port})
        return f"postgresql+psycopg://postgres@/{quote(database, safe='')}?{where}"

    def tcp_url(self, database: str = "headway") -> str:
        """SQLAlchemy URL over 127.0.0.1. It holds the password: never log or show it."""
        if not self.running.is_on_tcp:
            raise EmbeddedPostgresError("the embedded Postgres was started without tcp=True")
        password = (self.data_dir / "password").read_text("utf-8")
        name = quote(database, safe="")
        return f"postgresql+psycopg://postgres:{password}@127.0.0.1:{self.running.port}/{name}"

    def binary(self, name: str) -> Path:
        """Path of a program of this Postgres, such as `psql` or `pg_dump`."""
        path = bundled_install() / "bin" / name
        if not path.exists():
            raise EmbeddedPostgresError(f"the embedded Postgres has no program {name!r}")
        return path

    def close(self) -> None:
        """Let go of the server; the last user's going stops it."""
        if self._users is not None:
            os.close(self._users)
            self._users = None


def start(
    data_dir: Path, *, tcp: bool = False, fsync: bool = True, isolation: Isolation = "auto"
) -> EmbeddedServer:
    """Start the Postgres of this folder, or join it if it runs; see `EmbeddedServer`.

    ``tcp`` and ``fsync`` hold for whoever starts it; joining one without TCP when TCP is asked for
    is an error. Raises EmbeddedPostgresError, which says why and what to do.
    """
    data_dir = data_dir.absolute()
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(data_dir / "start.lock", "another process that starts this Postgres"):
            return _hold(data_dir, tcp, fsync, isolation)
    except OSError as error:
        raise EmbeddedPostgresError(
            f"the embedded Postgres cannot use {data_dir}: {error}; "
            "choose another folder with HEADWAY_DATA_DIR, or name a database with "
            "HEADWAY_DATABASE_URL"
        ) from error


def _hold(data_dir: Path, tcp: bool, fsync: bool, isolation: Isolation) -> EmbeddedServer:
    users = wait_for_lock(
        data_dir / "users.lock", fcntl.LOCK_SH, "the embedded Postgres that is stopping"
    )
    try:
        running = _join(data_dir, tcp) or _launch(data_dir, tcp, fsync, isolation)
    except BaseException:
        os.close(users)
        raise
    return EmbeddedServer(data_dir, running, users)


def _join(data_dir: Path, tcp: bool) -> Running | None:
    """The running server once it is ready; None when no process of it is left."""
    if not is_locked(data_dir / "server.lock"):
        return None
    running = _await_answer(data_dir, cluster_folder(data_dir) / "cluster")
    if running is None:
        return None
    if tcp and not running.is_on_tcp:
        raise EmbeddedPostgresError(
            f"the Postgres of {data_dir} runs already, without TCP; end the processes "
            "that use it, and start it again"
        )
    if not is_locked(data_dir / "watcher.lock"):
        place = choose_place(data_dir, "auto")
        _watch(data_dir, cluster.stop_command(place), Path(running.socket))
    return running


def _launch(data_dir: Path, tcp: bool, fsync: bool, isolation: Isolation) -> Running:
    place = choose_place(data_dir, isolation)
    # All processes of the server inherit this lock, so it tells whether any of them lives.
    lock = wait_for_lock(data_dir / "server.lock", fcntl.LOCK_SH, "an older server to end")
    try:
        cluster.initialise(place, fsync, lock)
        socket = cluster.make_socket_folder(place, data_dir)
        _watch(data_dir, cluster.stop_command(place), socket)  # first: a kill may come in between
        log_start = _spawn(data_dir, cluster.start_command(place, socket, tcp, fsync), lock)
    finally:
        os.close(lock)
    running = _await_ready(data_dir, place.cluster)
    if running is None:
        raise EmbeddedPostgresError(
            f"the embedded Postgres in {place.cluster} did not start; the end of its log "
            f"({data_dir / 'postgres.log'}) says:\n{_log_tail(data_dir, log_start)}\n"
            "Put right what it names, or delete that folder to begin with an empty database"
        )
    cluster.create_database(running)
    if tcp:
        cluster.set_password(running, _password(data_dir))
    return running


def _spawn(data_dir: Path, command: Sequence[str], lock: int) -> int:
    """Run the server on its own; return where its part of the log begins."""
    log = data_dir / "postgres.log"
    if log.exists() and log.stat().st_size > 10_000_000:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        log_start = output.tell()
        _detach(command, output.fileno(), pass_fds=(lock,))
    return log_start


def _watch(data_dir: Path, stop: Sequence[str], socket: Path) -> None:
    """One watcher at a time; a second waits a little, for one that is just going."""
    outer = ["flock", "--timeout", "10", str(data_dir / "watcher.lock")]
    inner = ["flock", str(data_dir / "users.lock")]
    script = ["sh", "-c", _WATCH, "sh", str(data_dir / "server.lock"), str(socket)]
    _detach([*outer, *inner, *script, *stop], subprocess.DEVNULL)


def _detach(command: Sequence[str], output: int, pass_fds: tuple[int, ...] = ()) -> None:
    """Run in a session of its own, as a child of nobody, so that no signal of ours reaches it."""
    subprocess.run(
        ["setsid", "--fork", *command],
        cwd="/",
        env=cluster.environment(),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=pass_fds,
        check=True,
    )


def _await_ready(data_dir: Path, folder: Path) -> Running | None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        running = cluster.read_running(folder)
        if running is not None:
            return running
        if not is_locked(data_dir / "server.lock"):
            return None
        time.sleep(0.005)
    raise EmbeddedPostgresError(
        f"the embedded Postgres in {folder} was not ready within {_START_SECONDS:.0f} s; the end "
        f"of its log says:\n{_log_tail(data_dir, 0)}"
    )


def _await_answer(data_dir: Path, folder: Path) -> Running | None:
    """Ready, and it answers: a server that was just killed looks ready for a moment."""
    deadline = time.monotonic() + _ANSWER_SECONDS
    while (running := _await_ready(data_dir, folder)) is not None:
        cluster.check_socket_folder(Path(running.socket), data_dir)
        try:
            cluster.create_database(running)
        except EmbeddedPostgresError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return running
    return None


def _log_tail(data_dir: Path, start_at: int) -> str:
    with (data_dir / "postgres.log").open("rb") as log:
        log.seek(max(start_at, (data_dir / "postgres.log").stat().st_size - 8000))
        return "\n".join(log.read().decode(errors="replace").splitlines()[-15:])


def _password(data_dir: Path) -> str:
    path = data_dir / "password"
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(24))
    return path.read_text("utf-8")
