"""Rows of a query, streamed from a database of somebody else's that is only read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from tasks.database import explain, psycopg_url
from tasks.errors import ConfigurationError, InputError
from tasks.experiments.ingestion.sources.model import QuerySource, parameters_of
from tasks.experiments.ingestion.sources.registry import Piece, sources
from tasks.foreign.reading import read_only_connection
from tasks.retries import is_transient
from tasks.settings import load_settings

_STREAMED = {"stream_results": True, "max_row_buffer": 2_000}


@sources.register("query")
def read_query(source: QuerySource, place: str | None, day: date | None) -> Piece:
    """All rows of the query, in one piece; they are fetched as they are taken."""
    del place
    asked = parameters_of(source.query)
    given = {**source.parameters, **({"day": day} if "day" in asked else {})}
    if asked != set(given):
        missing = ", ".join(sorted(asked - set(given))) or "none"
        unused = ", ".join(sorted(set(given) - asked)) or "none"
        raise InputError(f"parameters of the query do not fit: missing {missing}, unused {unused}")
    return Piece(_rows(source.connection, source.query, given))


def _rows(connection_name: str, query: str, parameters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    engine = sa.create_engine(_url(connection_name), poolclass=sa.NullPool, hide_parameters=True)
    try:
        with read_only_connection(engine) as connection:
            result = connection.execute(sa.text(query), parameters, execution_options=_STREAMED)
            _require_columns(result)
            for row in result.mappings():
                yield {name: _plain(value) for name, value in row.items()}
    except DBAPIError as error:
        if error.connection_invalidated or (_is_postgres(engine) and is_transient(error)):
            raise
        raise InputError(f"the query on {connection_name} failed: {explain(error)}") from None
    finally:
        engine.dispose()


def _is_postgres(engine: sa.Engine) -> bool:
    return engine.dialect.name == "postgresql"


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value


def _require_columns(result: sa.CursorResult[Any]) -> None:
    if not result.returns_rows:
        raise InputError("the query returns no rows: it must be a SELECT")
    names = list(result.keys())
    if "user_id" not in names:
        raise InputError(f"the query has no column user_id ({', '.join(names)})")
    if len(set(names)) != len(names):
        raise InputError(f"two columns of the query have the same name ({', '.join(names)})")


def _url(name: str) -> sa.URL:
    """The URL that an environment of `headway.toml`, or a variable of that name, stands for."""
    environments = load_settings().environments
    url = environments[name].database_url() if name in environments else os.environ.get(name)
    if not url:
        known = ", ".join(sorted(environments)) or "none"
        raise ConfigurationError(
            f"{name!r} is neither an environment variable that holds a URL, nor an environment "
            f"(known: {known})"
        )
    try:
        parsed = sa.make_url(url)
        if parsed.drivername in {"postgres", "postgresql"}:
            return psycopg_url(parsed)
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError, ImportError):
        raise ConfigurationError(
            f"the URL in {name} cannot be used: expected dialect+driver://user:password@host/name, "
            "with the driver installed"
        ) from None
    return parsed
