"""A query on Postgres, or any database that SQLAlchemy reaches."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from math import ceil
from threading import Timer
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from tasks import retries
from tasks.foreign.judging import reading_query
from tasks.foreign.reading import read_only_connection
from tasks.rollouts.health.measured import Measured
from tasks.rollouts.health.sources import figures
from tasks.rollouts.health.sources.model import (
    Inquiry,
    SecretName,
    Secrets,
    SourceTrouble,
    health_source,
    secret_value,
)

_BOUND: dict[str, sa.types.TypeEngine[Any]] = {
    "model_version": sa.Text(),
    "metric": sa.Text(),
    "window_start": sa.DateTime(timezone=True),
    "window_end": sa.DateTime(timezone=True),
}
_SUMS = ("value_sum", "sample_count", "square_sum")
_CONNECT_SECONDS = 5
_GRACE_SECONDS = 0.2  # in which a server keeps to its statement_timeout


class QueryConfig(BaseModel):
    """A SELECT that gives one row: ``value`` and ``count``, or ``value_sum``, ``sample_count``
    and ``square_sum``; ``count`` and ``square_sum`` may be left out.

    Bound are ``:model_version``, ``:metric``, ``:window_start`` and ``:window_end``. ``url`` names
    where the URL of the database is kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: SecretName
    query: Annotated[str, Field(min_length=1)]
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 10

    @field_validator("query")
    @classmethod
    def _is_about_the_version(cls, query: str) -> str:
        asked = set(sa.text(query).compile().params)
        if unknown := sorted(asked - set(_BOUND)):
            raise ValueError(f":{unknown[0]} is not bound; known: {', '.join(sorted(_BOUND))}")
        if "model_version" not in asked:
            raise ValueError("a query must ask for its :model_version")
        return reading_query(query)


@health_source("query", QueryConfig)
def read_query(config: QueryConfig, inquiry: Inquiry, secrets: Secrets) -> Measured:
    """The figures of the one row; without a row, or with null in it, there is no data.

    All of it, a second try included, has the timeout of the source.
    """
    url = secret_value(secrets, config.url)
    until = time.monotonic() + config.timeout_seconds

    def once(_: int) -> Measured:
        try:
            with _read_only(url, until - time.monotonic()) as connection:
                return _asked(connection, config.query, inquiry)
        except DBAPIError as error:
            if time.monotonic() < until:
                raise
            late = f"the database did not answer within {config.timeout_seconds:g} s"
            raise SourceTrouble(_said(error) or late) from None

    try:
        return retries.call(once, lambda _error, _wait: None, retries=1)
    except DBAPIError as error:
        unsaid = f"the database could not be asked: {type(error.orig).__name__}"
        raise SourceTrouble(_said(error) or unsaid) from None


def _asked(connection: sa.Connection, query: str, inquiry: Inquiry) -> Measured:
    statement = sa.text(query)
    named = statement.compile().params
    statement = statement.bindparams(*(sa.bindparam(name, type_=_BOUND[name]) for name in named))
    bound = {name: getattr(inquiry, name) for name in named}
    # Streamed: of a query that gives millions of rows only two are fetched.
    streamed = connection.execution_options(stream_results=True)
    with closing(streamed.execute(statement, bound)) as result:
        if not result.returns_rows:
            raise SourceTrouble("the query gives no rows; it must be a SELECT")
        rows = result.mappings().fetchmany(2)
    if len(rows) > 1:
        raise SourceTrouble("the query gives more than one row; aggregate them")
    return _figures(dict(rows[0])) if rows else Measured()


def _figures(row: dict[str, Any]) -> Measured:
    if {"value_sum", "sample_count"} <= set(row) <= set(_SUMS):
        return figures.summed(*(row.get(name) for name in _SUMS))
    if {"value"} <= set(row) <= {"value", "count"}:
        return figures.given(row["value"], row.get("count"), is_counted="count" in row)
    raise SourceTrouble(
        f"the query gives {', '.join(row)}; it must give value[, count] or value_sum, sample_count"
        "[, square_sum]"
    )


@contextmanager
def _read_only(url: str, timeout_seconds: float) -> Iterator[sa.Connection]:
    engine = _engine(url, timeout_seconds)
    sa.event.listen(engine, "handle_error", _close_cursor)
    try:
        with read_only_connection(engine) as connection:
            if engine.dialect.name != "postgresql":
                yield connection
                return
            with _cut_after(connection, timeout_seconds):
                milliseconds = max(round(timeout_seconds * 1000), 1)
                connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds}")
                yield connection
    finally:
        engine.dispose()


@contextmanager
def _cut_after(connection: sa.Connection, seconds: float) -> Iterator[None]:
    """Cut the connection after so long: a server that hangs keeps to no statement_timeout."""
    driver: Any = connection.connection.driver_connection
    line = socket.socket(fileno=os.dup(driver.fileno()))
    timer = Timer(max(seconds, 0.0) + _GRACE_SECONDS, _cut, (line,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        line.close()


def _close_cursor(context: sa.engine.ExceptionContext) -> None:
    # Of a connection that is cut nobody else closes the cursor that rows were to be streamed by.
    cursor = getattr(context.execution_context, "cursor", None)
    if cursor is not None:
        with suppress(Exception):
            cursor.close()


def _cut(line: socket.socket) -> None:
    with suppress(OSError):  # it has been closed
        line.shutdown(socket.SHUT_RDWR)


def _engine(url: str, timeout_seconds: float) -> sa.Engine:
    try:
        parsed = sa.make_url(url)
        if parsed.drivername in {"postgres", "postgresql"}:
            parsed = parsed.set(drivername="postgresql+psycopg")
        is_postgres = parsed.get_backend_name() == "postgresql"
        seconds = min(max(ceil(timeout_seconds), 1), _CONNECT_SECONDS)
        return sa.create_engine(
            parsed,
            poolclass=NullPool,
            hide_parameters=True,
            connect_args={"connect_timeout": seconds} if is_postgres else {},
        )
    except (ArgumentError, ValueError, ImportError, sa.exc.NoSuchModuleError):
        # What they say may quote the URL, and with it the password.
        raise SourceTrouble("its database URL cannot be used") from None


def _said(error: DBAPIError) -> str | None:
    """What the server said of itself, if anything: no statement, no values, no address."""
    diagnosis = getattr(error.orig, "diag", None)
    message = getattr(diagnosis, "message_primary", None)
    return f"the database said: {message}" if message else None
