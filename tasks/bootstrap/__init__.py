"""The ledger's home: schema `headway`, made by numbered scripts before the first step.

It has a version table of its own, so a migration, its rollback and a reset never touch what
recorded them.
"""

from __future__ import annotations

from importlib.resources import files

from sqlalchemy import Connection, text

LATEST = 1
_LOCK = 7310842301  # any constant; serialises bootstraps of one database


def bootstrap(connection: Connection, *, is_clock_adjustable: bool = False) -> None:
    """Create or update schema `headway` in the connection's database; nothing if it is current.

    Runs in the caller's transaction. ``is_clock_adjustable`` matters at creation only: it lets
    `headway.shift_clock` work in this database (tests, the demo, unprotected local use).
    """
    if version(connection) >= LATEST:
        return
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


def version(connection: Connection) -> int:
    """Version of schema `headway` in this database; 0 if there is none."""
    # Not to_regclass: it would remember, across the wait for the lock, that there was none.
    exists = connection.scalar(
        text(
            "SELECT true FROM pg_catalog.pg_tables "
            "WHERE schemaname = 'headway' AND tablename = 'bootstrap_version'"
        )
    )
    if exists is None:
        return 0
    found = connection.scalar(text("SELECT max(version) FROM headway.bootstrap_version"))
    return int(found or 0)


def _script(number: int) -> str:
    # A lone % in a driver-level string would be read as a parameter by psycopg.
    return files(__package__).joinpath(f"{number:03d}.sql").read_text("utf-8").replace("%", "%%")
