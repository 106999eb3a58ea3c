"""Fixtures of every tier. What needs Postgres is started only by the tests that ask for it."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import subprocess
import sys
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString

import pytest

if TYPE_CHECKING:
    import psycopg
    from psycopg.sql import Composed
    from sqlalchemy import Engine

    from tasks.ledger import RunInfo
    from tests.database.projects import AlembicProject

ROOT = Path(__file__).parent.parent
TEMPLATE = "headway_template"
_MEMORY = Path("/dev/shm")
_ENOUGH_BYTES = 4 * 2**30
# Prefect's clients read all certificates of the world again and again, 40 ms each time; the servers
# of the tests speak plain HTTP, so one that nobody uses will do.
CERTIFICATE = {"PREFECT_API_SSL_CERT_FILE": str(Path(__file__).with_name("certificate.pem"))}


def pytest_configure(config: pytest.Config) -> None:
    """Keep the databases of the tests in memory, unless the person chose a folder.

    Over a thousand are made and dropped. On ext4 that takes 0.3 s each, nearly all of it in the
    kernel, which looks through the inodes of the files that were deleted within seconds.
    """
    gc.disable()  # while everything is imported there is no garbage, but much to look through
    os.environ.update(CERTIFICATE)
    if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ENOUGH_BYTES:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


def pytest_collection_finish() -> None:
    """Look for garbage again, but not among all that was imported.

    Compile nothing more: a test may write a revision twice within the second and the size by which
    Python tells that the code it compiled is old.
    """
    sys.dont_write_bytecode = True
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give each of several workers something long to begin with; short tests fill the gaps.

    `--dist worksteal` cuts the list into as many pieces as there are workers. So the tests that
    need a Prefect server are one worker's, and none is left alone with them at the end.
    """
    workers = getattr(config, "workerinput", {"workercount": 1})["workercount"]
    if workers == 1:
        return
    share = len(items) // workers
    long = {
        folder: [each for each in items if folder in each.path.parts]
        for folder in ("acceptance", "flows", "database")
    }
    taken = {id(each) for group in long.values() for each in group}
    short = [each for each in items if id(each) not in taken]
    ordered: list[pytest.Item] = []
    for group in long.values():
        ordered += group
        gap = -len(ordered) % share if share else 0
        ordered += short[:gap]
        short = short[gap:]
    items[:] = ordered + short


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test sees the settings of the person who runs it."""
    for name in list(os.environ):
        if (
            name.startswith("HEADWAY_") and name != "HEADWAY_TEST_DATABASE_URL"
        ) or name == "DATABASE_URL":
            monkeypatch.delenv(name)
    _forget_settings()
    yield
    _forget_settings()


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this test session that all xdist workers share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def server_url(shared_folder: Path) -> Iterator[str]:
    """URL of the test Postgres: HEADWAY_TEST_DATABASE_URL, or an embedded one for the session."""
    url = os.environ.get("HEADWAY_TEST_DATABASE_URL")
    if not url:
        from tasks import embedded

        url = embedded.start(shared_folder / "postgres", fsync=False).url()
    yield url
    _drop_left(url)
    _admin(url).close()


@pytest.fixture(scope="session")
def template(server_url: str, shared_folder: Path) -> str:
    """Name of a migrated database to copy from; made once, by whichever worker comes first."""
    admin = _admin(server_url)
    with _locked(shared_folder / "template.lock"):
        known = "SELECT 1 FROM pg_database WHERE datname = %s"
        name = f"{TEMPLATE}_{_session_key(shared_folder)}"
        if admin.execute(known, [name]).fetchone() is None:
            making = f"{name}_making"
            admin.execute(_about("DROP DATABASE IF EXISTS {} WITH (FORCE)", making))
            admin.execute(_about("CREATE DATABASE {}", making))
            _migrate(_url_of(server_url, making))
            admin.execute(_about("ALTER DATABASE {} RENAME TO {}", making, name))
    return name


@pytest.fixture(scope="session")
def prefect_database(shared_folder: Path) -> Path:
    """SQLite file of a Prefect server that never ran, to copy: making one takes it 15 seconds."""
    folder = shared_folder / "prefect"
    folder.mkdir(exist_ok=True)
    with _locked(folder / "made.lock"):
        made = folder / "made.db"
        if not made.exists():
            making = folder / "making.db"
            url = f"sqlite+aiosqlite:///{making}"
            told = {"PREFECT_HOME": str(folder), "PREFECT_SERVER_DATABASE_CONNECTION_URL": url}
            command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
            subprocess.run(command, env=os.environ | told, check=True, capture_output=True)
            making.rename(made)
    return made


@pytest.fixture
def empty_database(server_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """A fresh database with nothing in it, named as the control database."""
    with _fresh_database(server_url, "template1", monkeypatch) as engine:
        yield engine


@pytest.fixture
def bootstrapped_database(empty_database: Engine) -> Engine:
    """A fresh database with schema `headway` only."""
    from tasks.bootstrap import bootstrap

    with empty_database.begin() as connection:
        bootstrap(connection, is_clock_adjustable=True)
    return empty_database


@pytest.fixture
def database(server_url: str, template: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """A fresh migrated database, named as the control database; its clock may be shifted."""
    with _fresh_database(server_url, template, monkeypatch) as engine:
        yield engine


@pytest.fixture
def new_database(server_url: str, template: str) -> Callable[[], AbstractContextManager[Engine]]:
    """Makes fresh migrated databases, for tests that need more than one or another process."""
    return lambda: created_database(server_url, template)


@pytest.fixture
def run(database: Engine) -> Iterator[RunInfo]:
    """A run of the ledger's own, so that a test can call steps."""
    from tasks import ledger

    info = ledger.RunInfo(id=str(uuid.uuid4()), flow="test", entrypoint="tests:test", mode="ledger")
    with ledger.in_run(info):
        yield info


@pytest.fixture
def project(
    tmp_path: Path, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[AlembicProject]:
    """An Alembic project of somebody else's, with one environment: `dev`."""
    from tests.database.projects import alembic_project

    with alembic_project(tmp_path, server_url, monkeypatch) as made:
        yield made


@contextmanager
def _fresh_database(
    server_url: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Engine]:
    with created_database(server_url, source) as engine:
        monkeypatch.setenv("HEADWAY_DATABASE_URL", engine.url.render_as_string(False))
        monkeypatch.setenv("HEADWAY_ALLOW_CLOCK_SHIFT", "true")
        _forget_settings()
        try:
            yield engine
        finally:
            _forget_settings()


@contextmanager
def created_database(server_url: str, source: str) -> Iterator[Engine]:
    """A fresh database copied from another; dropped a little later."""
    from tasks.database import create_engine

    name = f"test_{uuid.uuid4().hex[:16]}"
    # Copied as files it takes half the time in memory; elsewhere the checkpoints would be slow.
    how = "" if "HEADWAY_TEST_DATABASE_URL" in os.environ else " STRATEGY file_copy"
    _admin(server_url).execute(_about(f"CREATE DATABASE {{}} TEMPLATE {{}}{how}", name, source))
    engine = create_engine(_url_of(server_url, name))
    try:
        yield engine
    finally:
        engine.dispose()
        _left.append(name)
        _drop_left(server_url, spared=_STILL_IN_USE)


# Postgres waits 0.1 s if a backend is still about to leave the database that is to be dropped.
_STILL_IN_USE = 3
_left: deque[str] = deque()


def _drop_left(server_url: str, spared: int = 0) -> None:
    while len(_left) > spared:
        _admin(server_url).execute(_about("DROP DATABASE {} WITH (FORCE)", _left.popleft()))


@cache
def _admin(server_url: str) -> psycopg.Connection[Any]:
    """The one connection that makes and drops databases, until the session ends."""
    import psycopg

    from tasks.database import psycopg_url

    plain = psycopg_url(server_url).set(drivername="postgresql")
    return psycopg.connect(plain.render_as_string(hide_password=False), autocommit=True)


def _about(statement: LiteralString, *databases: str) -> Composed:
    from psycopg import sql

    return sql.SQL(statement).format(*map(sql.Identifier, databases))


def _migrate(url: str) -> None:
    from alembic import command
    from alembic.config import Config

    from tasks.bootstrap import bootstrap
    from tasks.database import create_engine

    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            with connection.begin():
                bootstrap(connection, is_clock_adjustable=True)
            config = Config(toml_file=ROOT / "pyproject.toml")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
    finally:
        engine.dispose()


def _url_of(server_url: str, name: str) -> str:
    from tasks.database import psycopg_url

    return psycopg_url(server_url).set(database=name).render_as_string(hide_password=False)


def _session_key(shared_folder: Path) -> str:
    return uuid.uuid5(uuid.NAMESPACE_URL, str(shared_folder)).hex[:12]


def _forget_settings() -> None:
    if "tasks.settings" in sys.modules:
        sys.modules["tasks.settings"].load_settings.cache_clear()
    if "tasks.database" in sys.modules:
        sys.modules["tasks.database"].forget_control_engine()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
