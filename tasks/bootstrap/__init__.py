"""The ledger's home: schema `headway`, made by numbered scripts before the first step.

It has a version table of its own, so a migration, its rollback and a reset never touch what
recorded them.
"""

from __future__ import annotations

from importlib.resources import files

from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from tasks.errors import ConfigurationError

LATEST = 2
_INSUFFICIENT_PRIVILEGE = "42501"
_LOCK = 7310842301  # any constant; serialises bootstraps of one database


def bootstrap(connection: Connection, *, is_clock_adjustable: bool = False) -> None:
    """Create or update schema `headway` in the connection's database; nothing if it is current.

    Runs in the caller's transaction. ``is_clock_adjustable`` matters at creation only: it lets
    `headway.shift_clock` work in this database (tests, the demo, unprotected local use).

    Raises:
        ConfigurationError: the user may not; the message says what an administrator can do.
    """
    if version(connection) >= LATEST:
        return
    try:
        _create(connection, is_clock_adjustable)
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != _INSUFFICIENT_PRIVILEGE:
            raise
        raise ConfigurationError(_way_out(connection, error)) from error


def _create(connection: Connection, is_clock_adjustable: bool) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    current = version(connection)
    for number in range(current + 1, LATEST + 1):
        connection.exec_driver_sql(_script(number))
        connection.execute(
            text("INSERT INTO headway.bootstrap_version (version) VALUES (:version)"),
            {"version": number},
        )
    if current == 0:
        connection.execute(
            text("UPDATE headway.clock SET is_adjustable = :is_adjustable"),
            {"is_adjustable": is_clock_adjustable},
        )


def _way_out(connection: Connection, error: ProgrammingError) -> str:
    url = connection.engine.url
    user = url.username or "the user"
    return (
        f"{user} may not create or update schema headway: {str(error.orig).splitlines()[0]}. Let "
        f"the database's owner do so (DATABASE_URL=… alembic current), or "
        f"GRANT CREATE ON DATABASE {url.database} TO {user}"
    )


def version(connection: Connection) -> int:
    """Version of schema `headway` in this database; 0 if there is none."""
    # Not to_regclass: it would remember, across the wait for the lock, that there was none.
    exists = connection.scalar(
        text(
            "SELECT true FROM pg_catalog.pg_class WHERE relname = 'bootstrap_version' AND "
            "relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'headway')"
        )
    )
    if exists is None:
        return 0
    found = connection.scalar(text("SELECT max(version) FROM headway.bootstrap_version"))
    return int(found or 0)


def _script(number: int) -> str:
    # A lone % in a driver-level string would be read as a parameter by psycopg.
    return files(__package__).joinpath(f"{number:03d}.sql").read_text("utf-8").replace("%", "%%")
