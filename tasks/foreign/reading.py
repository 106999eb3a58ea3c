"""A connection to a database of somebody else's that writes nothing, whatever it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine

_STATEMENTS = {
    "sqlite": ("PRAGMA query_only = ON",),
    "mysql": ("SET SESSION TRANSACTION READ ONLY",),
    "mariadb": ("SET SESSION TRANSACTION READ ONLY",),
}


def read_only_statements(dialect: str) -> tuple[str, ...]:
    """What makes a session of that dialect refuse to write; Postgres is asked by the driver."""
    return _STATEMENTS.get(dialect, ())


@contextmanager
def read_only_connection(engine: Engine) -> Iterator[Connection]:
    """A connection that is read-only where the dialect knows that, and never committed.

    Of a database that is neither Postgres, SQLite nor MySQL only the rollback and the rights of
    its user keep a function with side effects from writing.
    """
    is_postgres = engine.dialect.name == "postgresql"
    options = {"postgresql_readonly": True} if is_postgres else {}
    with engine.connect().execution_options(**options) as connection:
        for statement in read_only_statements(engine.dialect.name):
            connection.exec_driver_sql(statement)
            connection.rollback()  # it holds for the transactions that begin after it
        try:
            yield connection
        finally:
            if not connection.invalidated:
                connection.rollback()
