"""The embedded Postgres, with real servers, real processes and real SIGKILLs."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from tasks import embedded
from tasks.embedded.cluster import create_database
from tasks.embedded.locks import is_locked
from tasks.errors import EmbeddedPostgresError

ROOT = Path(__file__).parents[2]

USER = """
import sys
from pathlib import Path
from tasks import embedded
server = embedded.start(Path(sys.argv[1]), fsync=False)
print(server.url(), flush=True)
sys.stdin.read()
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as another user")


@contextmanager
def user(data_dir: Path, *prefix: str) -> Iterator[subprocess.Popen[str]]:
    """A process that uses the embedded Postgres until its input ends or it is killed."""
    process = subprocess.Popen(
        [*prefix, sys.executable, "-c", USER, str(data_dir)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def url_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def ask(url: str, question: str) -> object:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        result = connection.execute(sa.text(question))
        return result.scalar() if result.returns_rows else None


def eventually(is_true: Callable[[], bool], seconds: float = 15.0) -> bool:
    deadline = time.monotonic() + seconds
    while not is_true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return is_true()


def processes_of(data_dir: Path) -> list[str]:
    """Command lines that name the folder: server, watcher, anything else that was started."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(data_dir) in command:
            found.append(command)
    return found


def nothing_runs(data_dir: Path) -> bool:
    return not is_locked(data_dir / "server.lock") and not processes_of(data_dir)


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "data"
    if (tmp_path / "data" / "server.lock").exists():
        assert eventually(lambda: nothing_runs(tmp_path / "data")), processes_of(tmp_path / "data")


def test_two_processes_that_start_at_once_share_one_server(data_dir: Path) -> None:
    with user(data_dir) as one, user(data_dir) as two:
        first, second = url_of(one), url_of(two)
        assert first == second
        ask(first, "CREATE TABLE seen (n int)")
        assert ask(second, "SELECT count(*) FROM seen") == 0
        assert sum("bin/postgres" in line for line in processes_of(data_dir)) == 1


def test_the_server_ends_with_its_last_user_even_when_that_one_is_killed(data_dir: Path) -> None:
    with user(data_dir) as one, user(data_dir) as two:
        url_of(one)
        url = url_of(two)
        one.send_signal(signal.SIGKILL)
        one.wait()
        time.sleep(0.3)
        assert ask(url, "SELECT 1") == 1
        two.send_signal(signal.SIGKILL)
        two.wait()
        assert eventually(lambda: nothing_runs(data_dir)), processes_of(data_dir)


def is_initialising(data_dir: Path) -> bool:
    return (data_dir / "cluster.new").exists()


def is_starting(data_dir: Path) -> bool:
    return (data_dir / "postgres.log").exists()


@pytest.mark.parametrize("is_reached", [is_initialising, is_starting])
@pytest.mark.parametrize("delay", [0.0, 0.2])
@pytest.mark.parametrize("waits", [True, False])
def test_a_kill_while_it_starts_leaves_nothing_running_and_nothing_broken(
    data_dir: Path, is_reached: Callable[[Path], bool], delay: float, waits: bool
) -> None:
    with user(data_dir) as process:
        assert eventually(lambda: is_reached(data_dir))
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
    if waits:
        assert eventually(lambda: nothing_runs(data_dir)), processes_of(data_dir)
    server = embedded.start(data_dir, fsync=False)
    assert ask(server.url(), "SELECT 1") == 1
    server.close()


def test_a_database_that_somebody_else_creates_at_the_same_time_is_enough(data_dir: Path) -> None:
    server = embedded.start(data_dir, fsync=False)
    with psycopg.connect(
        host=server.running.socket, port=server.running.port, user="postgres", dbname="postgres"
    ) as connection:
        connection.autocommit = True
        for _ in range(5):
            connection.execute("DROP DATABASE headway WITH (FORCE)")
            with ThreadPoolExecutor(4) as starters:
                list(starters.map(create_database, [server.running] * 4))
    assert ask(server.url(), "SELECT 1") == 1
    server.close()


def test_users_that_come_while_the_watcher_stops_the_server_get_a_new_one(data_dir: Path) -> None:
    for _ in range(6):
        server = embedded.start(data_dir, fsync=False)
        assert ask(server.url(), "SELECT 1") == 1
        server.close()
        time.sleep(0.03)  # long enough for the watcher to be in the middle of it


def test_many_short_users_do_not_pile_up_watchers(data_dir: Path) -> None:
    keeper = embedded.start(data_dir, fsync=False)
    for _ in range(20):
        embedded.start(data_dir, fsync=False).close()
    watching = [line for line in processes_of(data_dir) if "watcher.lock" in line]
    keeper.close()
    assert len(watching) == 1


def test_it_recovers_after_the_server_itself_was_killed(data_dir: Path) -> None:
    with user(data_dir) as process:
        url = url_of(process)
        ask(url, "CREATE TABLE kept (n int)")
        postmaster = int((data_dir / "cluster" / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGKILL)
        server = embedded.start(data_dir, fsync=False)
        assert ask(server.url(), "SELECT count(*) FROM kept") == 0
        server.close()


def test_a_stale_pid_file_that_names_a_living_process_does_not_stop_it(data_dir: Path) -> None:
    embedded.start(data_dir, fsync=False).close()
    assert eventually(lambda: nothing_runs(data_dir))
    pid_file = data_dir / "cluster" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{data_dir}\n1\n5432\n/tmp\n\n1 2\nready\n")
    server = embedded.start(data_dir, fsync=False)
    assert ask(server.url(), "SELECT 1") == 1
    server.close()


def test_a_half_made_cluster_is_made_anew(data_dir: Path) -> None:
    (data_dir / "cluster.new" / "base").mkdir(parents=True)
    server = embedded.start(data_dir, fsync=False)
    assert ask(server.url(), "SELECT 1") == 1
    server.close()


def test_the_database_is_utf8_and_sorts_the_same_everywhere(data_dir: Path) -> None:
    server = embedded.start(data_dir, fsync=False)
    assert ask(server.url(), "SHOW server_encoding") == "UTF8"
    assert ask(server.url(), "SELECT lower('ÄÖ') || ('a' > 'B')") == "äötrue"
    assert ask(server.url(), "SHOW TimeZone") == "UTC"
    server.close()


@pytest.mark.parametrize(
    "name", ["with spaces & $dollar", "grüße, \"so\" 'la' %20 la", "long/" * 60]
)
def test_any_folder_will_do(tmp_path: Path, name: str) -> None:
    server = embedded.start(tmp_path / name, fsync=False)
    assert ask(server.url(), "SELECT current_database()") == "headway"
    server.close()
    assert eventually(lambda: nothing_runs(tmp_path / name))


def test_a_long_temp_folder_leaves_the_socket_path_short_enough(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("t" * 120)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    server = embedded.start(data_dir, fsync=False)
    assert ask(server.url(), "SELECT 1") == 1
    server.close()


def test_programs_of_the_same_version_come_along(data_dir: Path) -> None:
    server = embedded.start(data_dir, fsync=False)
    psql = [str(server.binary("psql")), "-h", server.running.socket, "-U", "postgres", "-Atc"]
    answer = subprocess.run(
        [*psql, "SHOW server_version_num", "headway"], capture_output=True, text=True, check=True
    )
    assert answer.stdout.startswith("18")
    with pytest.raises(EmbeddedPostgresError, match="no program 'mysql'"):
        server.binary("mysql")
    server.close()


def test_tcp_is_on_loopback_only_and_asks_for_the_password(data_dir: Path) -> None:
    server = embedded.start(data_dir, tcp=True, fsync=False)
    assert ask(server.tcp_url(), "SELECT 1") == 1
    assert ask(server.url(), "SHOW listen_addresses") == "127.0.0.1"
    assert stat.S_IMODE((data_dir / "password").stat().st_mode) == 0o600
    password = (data_dir / "password").read_text()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(
            host="127.0.0.1",
            port=server.running.port,
            user="postgres",
            password="guess",
            dbname="headway",
        )
    assert password not in (data_dir / "postgres.log").read_text()
    assert password not in " ".join(processes_of(data_dir))
    assert password not in repr(server) + server.url()
    server.close()


def test_asking_for_tcp_of_a_server_that_runs_without_it_is_refused(data_dir: Path) -> None:
    server = embedded.start(data_dir, fsync=False)
    with pytest.raises(EmbeddedPostgresError, match="runs already, without TCP"):
        embedded.start(data_dir, tcp=True)
    with pytest.raises(EmbeddedPostgresError, match="without tcp=True"):
        server.tcp_url()
    server.close()


def test_no_folder_but_its_own_changes_mode_or_owner(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    parents = [closed, *closed.parents]
    before = [(path.stat().st_mode, path.stat().st_uid, path.stat().st_gid) for path in parents]
    server = embedded.start(closed / "data", fsync=False)
    assert ask(server.url(), "SELECT 1") == 1
    after = [(path.stat().st_mode, path.stat().st_uid, path.stat().st_gid) for path in parents]
    assert before == after
    server.close()
    assert eventually(lambda: nothing_runs(closed / "data"))


@needs_root
def test_it_runs_for_an_ordinary_user(data_dir: Path) -> None:
    """In a user namespace that knows no root, our process is an ordinary user."""
    unshare = ["unshare", "--user", "--map-user=65534", "--map-group=65534"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("user namespaces are refused here")
    with user(data_dir, *unshare) as process:
        assert ask(url_of(process), "SELECT 1") == 1
        process.kill()
        process.wait()
        assert eventually(lambda: nothing_runs(data_dir)), processes_of(data_dir)


@needs_root
def test_where_namespaces_are_refused_it_runs_as_nobody_in_a_folder_of_its_own(
    tmp_path: Path,
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    data_dir = closed / "data"
    server = embedded.start(data_dir, fsync=False, isolation="user")
    elsewhere = Path((data_dir / "elsewhere").read_text())
    try:
        ask(server.url(), "CREATE TABLE kept (n int)")
        assert (elsewhere / "cluster").stat().st_uid == 65534
        assert elsewhere.stat().st_uid == 0
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        server.close()
        assert eventually(lambda: nothing_runs(data_dir)), processes_of(data_dir)
        again = embedded.start(data_dir, fsync=False)
        assert ask(again.url(), "SELECT count(*) FROM kept") == 0
        again.close()
        assert eventually(lambda: nothing_runs(data_dir)), processes_of(data_dir)
    finally:
        server.close()
        shutil.rmtree(elsewhere)


@needs_root
def test_a_folder_closed_to_root_in_a_namespace_sends_the_data_elsewhere(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    os.chown(closed, 12345, 12345)
    server = embedded.start(closed / "data", fsync=False)
    elsewhere = Path((closed / "data" / "elsewhere").read_text())
    assert ask(server.url(), "SELECT 1") == 1
    server.close()
    assert eventually(lambda: nothing_runs(closed / "data"))
    assert (closed.stat().st_uid, stat.S_IMODE(closed.stat().st_mode)) == (12345, 0o700)
    shutil.rmtree(elsewhere)


def test_a_data_folder_that_is_a_file_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedPostgresError, match=r"cannot use .*file.*HEADWAY_DATA_DIR"):
        embedded.start(tmp_path / "file")


def test_a_folder_that_cannot_be_written_is_named_in_the_error() -> None:
    with pytest.raises(EmbeddedPostgresError, match=r"cannot use /proc/headway.*HEADWAY_DATA_DIR"):
        embedded.start(Path("/proc/headway"))


def test_a_broken_cluster_is_reported_with_the_end_of_the_log(data_dir: Path) -> None:
    embedded.start(data_dir, fsync=False).close()
    assert eventually(lambda: nothing_runs(data_dir))
    (data_dir / "cluster" / "global" / "pg_control").write_bytes(b"")
    with pytest.raises(EmbeddedPostgresError, match=r"(?s)did not start.*pg_control.*Put right"):
        embedded.start(data_dir, fsync=False)


def test_a_cluster_of_another_version_is_refused(data_dir: Path) -> None:
    embedded.start(data_dir, fsync=False).close()
    assert eventually(lambda: nothing_runs(data_dir))
    (data_dir / "cluster" / "PG_VERSION").write_text("15\n")
    with pytest.raises(EmbeddedPostgresError, match="made by Postgres 15, the embedded one is 18"):
        embedded.start(data_dir)


@needs_root
def test_a_cluster_of_another_user_is_refused(data_dir: Path) -> None:
    embedded.start(data_dir, fsync=False).close()
    assert eventually(lambda: nothing_runs(data_dir))
    os.chown(data_dir / "cluster", 12345, 12345)
    with pytest.raises(EmbeddedPostgresError, match="belongs to user 12345"):
        embedded.start(data_dir)


def test_a_socket_folder_that_others_can_enter_is_refused(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temp = tmp_path / "temp"
    temp.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temp))
    server = embedded.start(data_dir, fsync=False)
    socket = Path(server.running.socket)
    server.close()
    assert eventually(lambda: nothing_runs(data_dir) and not socket.exists())
    socket.mkdir(mode=0o700)
    socket.chmod(0o755)
    with pytest.raises(EmbeddedPostgresError, match="belongs to somebody else or is open"):
        embedded.start(data_dir, fsync=False)
    socket.rmdir()
