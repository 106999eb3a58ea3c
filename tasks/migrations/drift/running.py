"""Run statements that were written from fingerprints, as they stand."""

from __future__ import annotations

import re
from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy import Connection

# What SQLAlchemy would read as a parameter, in a string or a comment.
_PARAMETER = re.compile(r"(?<![:\w\\]):(?=\w+)(?!\w+:)")


def executable(sql: str) -> sa.TextClause:
    """The statement, with nothing in it read as a parameter."""
    return sa.text(escaped(sql))


def escaped(sql: str) -> str:
    """The statement as `op.execute` must be given it."""
    return _PARAMETER.sub(r"\\:", sql)


def run(connection: Connection, statements: Iterable[str]) -> None:
    """Run the statements in the caller's transaction."""
    for statement in statements:
        connection.execute(executable(statement))
