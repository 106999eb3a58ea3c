"""Connections to Postgres, and the SQL that lives in `.sql` files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.resources import files
from threading import Lock

import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, ProgrammingError

from tasks import embedded
from tasks.bootstrap import bootstrap
from tasks.embedded import EmbeddedServer
from tasks.errors import ConfigurationError, DatabaseUnavailable
from tasks.settings import load_settings

_first_call = Lock()
_MISSING = {"42P01", "42703", "42883"}  # undefined table, column, function
_NAME = re.compile(r"^-- name: (?P<name>\w+)\s*$", re.MULTILINE)


def control_url() -> str:
    """URL of the control database; starts the embedded Postgres if no other is named.

    It holds the password, so it must never be logged or shown.
    """
    settings = load_settings()
    if settings.database_url is not None:
        return psycopg_url(settings.database_url.get_secret_value()).render_as_string(
            hide_password=False
        )
    return embedded_server().url()


@lru_cache(maxsize=1)
def embedded_server() -> EmbeddedServer:
    """The embedded Postgres, held until this process ends."""
    settings = load_settings()
    return embedded.start(
        settings.data_dir.absolute() / "postgres",
        tcp=settings.embedded_tcp,
        fsync=settings.embedded_fsync,
    )


def control_engine() -> Engine:
    """The control database, one pool per process, with schema `headway` in place."""
    with _first_call:  # two threads' first calls must not make two pools
        return _control_engine()


@lru_cache(maxsize=1)
def _control_engine() -> Engine:
    engine = create_engine(control_url())
    try:
        with engine.begin() as connection:
            bootstrap(connection, is_clock_adjustable=load_settings().may_shift_clock)
    except OperationalError as error:
        engine.dispose()
        raise DatabaseUnavailable(
            f"the control database {_place(engine.url)} cannot be used: "
            f"{str(error.orig).splitlines()[0]}; check that it runs, and HEADWAY_DATABASE_URL"
        ) from error
    except ProgrammingError as error:  # its user may not do what the bootstrap needs, for one
        engine.dispose()
        raise ConfigurationError(
            f"the control database {_place(engine.url)} cannot be used: {explain(error)}; check "
            "HEADWAY_DATABASE_URL, and the rights of its user (docs/security.md)"
        ) from error
    return engine


def forget_control_engine() -> None:
    """Close the control database's pool; the next call connects anew, as the settings then say."""
    with _first_call:
        if _control_engine.cache_info().currsize:
            _control_engine().dispose()
        _control_engine.cache_clear()


def is_schema_behind(error: DBAPIError) -> bool:
    """True if a table, column or function is missing that a migration brings."""
    return getattr(error.orig, "sqlstate", None) in _MISSING


_DEPENDENTS_EXIST = "2BP01"


def explain(error: DBAPIError) -> str:
    """What the database said, and what it or we advise: no statement, no values."""
    said = getattr(error.orig, "diag", None)
    message = (said and said.message_primary) or str(error.orig).partition("\n")[0]
    advice = "`headway migrate status` shows whether a migration is pending"
    hint = advice if is_schema_behind(error) else said and said.message_hint
    if said and said.sqlstate == _DEPENDENTS_EXIST:
        # Postgres would advise CASCADE; its details name what depends, and show no values.
        hint = "; ".join((said.message_detail or "").splitlines())
    return f"{message}; {hint.rstrip('.')}" if hint else message


def _place(url: URL) -> str:
    """Where a database is, without user and password."""
    host = url.host or url.query.get("host") or "localhost"
    return f"{url.database!r} at {host}:{url.port or 5432}"


def create_engine(url: str | URL, application_name: str = "headway") -> Engine:
    """An engine on psycopg 3 that notices connections cut while they lay in the pool."""
    return sa.create_engine(
        psycopg_url(url),
        pool_pre_ping=True,
        hide_parameters=True,  # values of rows do not belong in logs
        connect_args={"application_name": application_name, "connect_timeout": 10},
    )


def psycopg_url(url: str | URL) -> URL:
    """The URL with the psycopg 3 driver: plain `postgresql://` and `postgres://` mean it too."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # a ValueError quotes the port, which may be the password
        raise ConfigurationError(
            "the database URL cannot be read; expected postgresql://user:password@host:port/name"
        ) from None
    if parsed.drivername in {"postgres", "postgresql"}:
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername != "postgresql+psycopg":
        raise ConfigurationError(
            f"Headway works on Postgres through psycopg 3, not on {parsed.drivername!r}; "
            "give a URL that starts with postgresql://"
        )
    return parsed


class Queries(Mapping[str, sa.TextClause]):
    """Named SQL statements of one file."""

    def __init__(self, statements: Mapping[str, sa.TextClause], source: str) -> None:
        self._statements = dict(statements)
        self.source = source

    def __getitem__(self, name: str) -> sa.TextClause:
        return self._statements[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._statements)

    def __len__(self) -> int:
        return len(self._statements)


def load_queries(package: str | None, file: str = "queries.sql") -> Queries:
    """Read the named blocks (`-- name: lock_rollout`) of a `.sql` file beside its step."""
    if package is None:
        raise ConfigurationError("load_queries needs the package that holds the file: __package__")
    source = f"{package}/{file}"
    parts = _NAME.split(files(package).joinpath(file).read_text("utf-8"))
    names, bodies = parts[1::2], parts[2::2]
    if len(set(names)) != len(names):
        raise ConfigurationError(f"{source} names a query twice")
    statements = {
        name: sa.text(body.strip().rstrip(";")) for name, body in zip(names, bodies, strict=True)
    }
    return Queries(statements, source)
