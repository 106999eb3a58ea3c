"""The cluster of the embedded Postgres: how it is made, configured, found and stopped."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket as sockets
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.embedded.isolation import Place, check_owner
from tasks.errors import EmbeddedPostgresError

if TYPE_CHECKING:
    import psycopg

_MAJOR = "18"
_DATABASE = "headway"
_SOCKET_PATH_BYTES = 107
_SOCKET_PORT = 5432

_SETTINGS = {
    "max_connections": "200",
    "shared_buffers": "512MB",  # memory is taken as pages are read: a small database takes little
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "password_encryption": "scram-sha-256",
    "unix_socket_permissions": "0700",
    "io_method": "sync",  # fewer processes; the databases here are small
}
_UNSAFE_BUT_FAST = {"fsync": "off", "full_page_writes": "off"}
_HBA = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"


@dataclass(frozen=True, slots=True)
class Running:
    """A server that accepts connections."""

    socket: str  # folder of the Unix socket
    port: int
    is_on_tcp: bool


def environment() -> dict[str, str]:
    """What the server's programs see: no PG* variable, no locale of the caller."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def initialise(place: Place, fsync: bool, lock: int) -> None:
    """Make the cluster if there is none; a half-made one never bears its name.

    ``lock`` is the server's, which initdb inherits: should we be killed, the next one waits for it.
    """
    if place.cluster.exists():
        check_owner(place)
        _check_version(place)
        # Nobody holds the server's lock, so whatever this file says is from a crash.
        (place.cluster / "postmaster.pid").unlink(missing_ok=True)
        return
    partial = place.folder / "cluster.new"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    place.give(partial)
    result = subprocess.run(
        [*place.prefix, *_initdb(place, partial, fsync)],
        cwd="/",
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        pass_fds=(lock,),
        check=False,
    )
    if result.returncode != 0:
        raise EmbeddedPostgresError(
            f"initdb could not make a database in {place.folder}: "
            f"{(result.stderr or result.stdout).strip()[-2000:]}"
        )
    partial.rename(place.cluster)


def _initdb(place: Place, folder: Path, fsync: bool) -> list[str]:
    command = [str(place.install / "bin" / "initdb"), "-D", str(folder), "-U", "postgres"]
    command += ["--encoding=UTF8", "--locale=C", "--auth=trust", "--no-instructions"]
    # The builtin provider sorts and folds the same on every machine.
    command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return command if fsync else [*command, "--no-sync"]


def _check_version(place: Place) -> None:
    version = (place.cluster / "PG_VERSION").read_text("utf-8").strip()
    if version != _MAJOR:
        raise EmbeddedPostgresError(
            f"{place.cluster} was made by Postgres {version}, the embedded one is {_MAJOR}; "
            "dump it with that version, or choose another folder with HEADWAY_DATA_DIR"
        )


def make_socket_folder(place: Place, data_dir: Path) -> Path:
    """A short private folder for the Unix socket, whose path may have 107 bytes."""
    if place.is_elsewhere:
        folder = place.folder / "socket"
        if not folder.exists():
            folder.mkdir(mode=0o700)
            place.give(folder)
        return _swept(folder)
    identity = data_dir.stat()
    key = f"{data_dir.resolve()}:{identity.st_dev}:{identity.st_ino}"
    name = f"headway-{os.geteuid()}-{hashlib.sha256(os.fsencode(key)).hexdigest()[:12]}"
    folder = Path(tempfile.gettempdir()) / name
    if len(os.fsencode(folder / f".s.PGSQL.{65535}.lock")) > _SOCKET_PATH_BYTES:
        folder = Path("/tmp") / name  # noqa: S108  the folder in it is private, and checked
    folder.mkdir(mode=0o700, exist_ok=True)
    check_socket_folder(folder, data_dir)
    return _swept(folder)


def _swept(folder: Path) -> Path:
    """Without what a crash left: no process of this server lives when we come here."""
    for left_over in folder.glob(".s.PGSQL.*"):
        left_over.unlink()
    return folder


def check_socket_folder(folder: Path, data_dir: Path) -> None:
    """Whoever owns this folder could pose as our server, so it must be ours and closed."""
    facts = folder.lstat()
    is_ours = facts.st_uid == os.geteuid() or (data_dir / "elsewhere").exists()
    if folder.is_symlink() or not folder.is_dir() or not is_ours or facts.st_mode & 0o077:
        raise EmbeddedPostgresError(
            f"{folder}, the folder for the socket, belongs to somebody else or is open to others; "
            "remove it, or set TMPDIR to another folder"
        )


def start_command(place: Place, socket: Path, tcp: bool, fsync: bool) -> list[str]:
    """The command line of the server; all settings are on it, none in the cluster."""
    rules = place.folder / "pg_hba.conf"
    rules.write_text(_HBA, "utf-8")
    rules.chmod(0o644)
    settings = _SETTINGS | ({} if fsync else _UNSAFE_BUT_FAST)
    settings |= {
        "hba_file": str(rules),
        "unix_socket_directories": '"' + str(socket).replace('"', '""') + '"',
        "listen_addresses": "127.0.0.1" if tcp else "",
        "port": str(_free_port() if tcp else _SOCKET_PORT),
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    postgres = str(place.install / "bin" / "postgres")
    return [*place.prefix, postgres, "-D", str(place.cluster), *options]


def stop_command(place: Place) -> list[str]:
    """Stop without waiting for clients: there are none left, or they were killed."""
    pg_ctl = str(place.install / "bin" / "pg_ctl")
    return [*place.prefix, pg_ctl, "stop", "--mode=fast", "-D", str(place.cluster)]


def read_running(cluster: Path) -> Running | None:
    """What the server writes of itself into `postmaster.pid`, once it is ready."""
    try:
        lines = (cluster / "postmaster.pid").read_text("utf-8").splitlines()
    except FileNotFoundError:
        return None
    if len(lines) < 8 or lines[7].strip() != "ready" or not Path(f"/proc/{lines[0]}").exists():
        return None
    return Running(socket=lines[4], port=int(lines[3]), is_on_tcp=lines[5].strip() != "")


def create_database(running: Running) -> None:
    """Create the database that everybody uses, unless it is there."""
    from psycopg import errors

    with _connect(running) as connection:
        query = "SELECT 1 FROM pg_database WHERE datname = %s"
        if connection.execute(query, [_DATABASE]).fetchone() is None:
            # A process that was killed may have asked for it, and the server is still at it.
            with suppress(errors.DuplicateDatabase, errors.UniqueViolation):
                connection.execute(f"CREATE DATABASE {_DATABASE}")


def set_password(running: Running, password: str) -> None:
    """Give the superuser its password for TCP; the server only ever sees the SCRAM verifier."""
    from psycopg import sql

    with _connect(running) as connection:
        verifier = connection.pgconn.encrypt_password(
            password.encode(), b"postgres", b"scram-sha-256"
        ).decode()
        connection.execute(sql.SQL("ALTER ROLE postgres PASSWORD {}").format(verifier))


def _connect(running: Running) -> psycopg.Connection:
    import psycopg  # slow to import, and `headway --help` does not need it

    try:
        return psycopg.connect(
            host=running.socket,
            port=running.port,
            user="postgres",
            dbname="postgres",
            autocommit=True,
            connect_timeout=10,
        )
    except psycopg.Error as error:
        raise EmbeddedPostgresError(
            f"the embedded Postgres runs, but takes no connection: {error}"
        ) from error


def _free_port() -> int:
    with sockets.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
