"""Read a report as of one moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from tasks.database import control_engine


@contextmanager
def one_moment() -> Iterator[Connection]:
    """Give a connection whose statements all see the same moment, and that cannot write.

    A report takes several; a look that commits between them must not be half in it.
    """
    with control_engine().connect() as connection:
        yield connection.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
