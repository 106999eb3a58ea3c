"""Run statements that were written from fingerprints, as they stand."""

from __future__ import annotations

import re
from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

# What SQLAlchemy would read as a parameter, in a string or a comment.
_PARAMETER = re.compile(r"(?<![:\w\\]):(?=\w+)(?!\w+:)")


def executable(sql: str) -> sa.TextClause:
    """The statement, with nothing in it read as a parameter."""
    return sa.text(escaped(sql))


def escaped(sql: str) -> str:
    """The statement as `op.execute` must be given it."""
    return _PARAMETER.sub(r"\\:", sql)


def said(error: DBAPIError) -> str:
    """What the database said, in one line; none of the values of a row."""
    diagnosis = getattr(error.orig, "diag", None)
    message = getattr(diagnosis, "message_primary", None) or str(error.orig).partition("\n")[0]
    sqlstate = getattr(error.orig, "sqlstate", None)
    return f"{message} ({sqlstate})" if sqlstate else message


def run(connection: Connection, statements: Iterable[str]) -> None:
    """Run the statements in the caller's transaction."""
    for statement in statements:
        connection.execute(executable(statement))
