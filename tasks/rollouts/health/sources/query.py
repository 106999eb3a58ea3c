"""A query on Postgres, or any database that SQLAlchemy reaches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
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
    """The figures of the one row; without a row, or with null in it, there is no data."""
    url = secret_value(secrets, config.url)

    def once(_: int) -> Measured:
        with _read_only(url, config.timeout_seconds) as connection:
            return _asked(connection, config.query, inquiry)

    try:
        return retries.call(once, lambda _error, _wait: None, retries=1)
    except DBAPIError as error:
        raise SourceTrouble(_said(error)) from None


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
    engine = _engine(url)
    try:
        with read_only_connection(engine) as connection:
            if engine.dialect.name == "postgresql":
                milliseconds = round(timeout_seconds * 1000)
                connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds}")
            yield connection
    finally:
        engine.dispose()


def _engine(url: str) -> sa.Engine:
    try:
        parsed = sa.make_url(url)
        if parsed.drivername in {"postgres", "postgresql"}:
            parsed = parsed.set(drivername="postgresql+psycopg")
        is_postgres = parsed.get_backend_name() == "postgresql"
        return sa.create_engine(
            parsed,
            poolclass=NullPool,
            hide_parameters=True,
            connect_args={"connect_timeout": _CONNECT_SECONDS} if is_postgres else {},
        )
    except (ArgumentError, ValueError, ImportError, sa.exc.NoSuchModuleError):
        # What they say may quote the URL, and with it the password.
        raise SourceTrouble("its database URL cannot be used") from None


def _said(error: DBAPIError) -> str:
    """What the server said of itself: no statement, no values, no address."""
    diagnosis = getattr(error.orig, "diag", None)
    message = getattr(diagnosis, "message_primary", None)
    if message:
        return f"the database said: {message}"
    return f"the database could not be asked: {type(error.orig).__name__}"
