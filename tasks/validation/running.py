"""Run the suites of `expectations/` on tables, and on rows in memory.

What is returned holds counts and reasons: no rows, no connection URL.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

import expectations
from expectations.owners import owners_by_column, owners_by_sql
from expectations.suite import LATEST, library
from tasks import clock
from tasks.database import create_engine, psycopg_url
from tasks.validation.outcomes import outcome_of, summary_of, unchecked
from tasks.validation.summary import ValidationSummary

if TYPE_CHECKING:
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.datasource.fluent.postgres_datasource import PostgresDatasource

DEFAULT_STATEMENT_TIMEOUT = timedelta(minutes=5)
# Applications stamp their rows by their own clocks.
CLOCK_SKEW = timedelta(minutes=5)
_HAS_CLOCK = (
    "SELECT EXISTS (SELECT FROM pg_namespace "
    "WHERE nspname = 'headway' AND has_schema_privilege(oid, 'USAGE'))"
)
# The library keeps its current context in a global: one validation at a time in a process.
_lock = threading.Lock()


def validate_tables(
    url: str | sa.URL,
    suites: Sequence[str],
    *,
    statement_timeout: timedelta = DEFAULT_STATEMENT_TIMEOUT,
    rows: Mapping[str, str] | None = None,
) -> tuple[ValidationSummary, ...]:
    """Validate the tables of the named suites in the database at ``url``, in that order.

    ``rows`` may narrow a suite down: a query of those rows of its table that are to be looked at.

    Only committed rows are seen: the checks run on connections of their own, which cannot write
    and are closed at the end. A table is looked up along the URL's `search_path`. Raises
    UnknownName for a suite that is not registered, and SQLAlchemy's OperationalError if the
    database cannot be reached.
    """
    names = list(dict.fromkeys(suites))
    for name in names:
        expectations.suites.get(name)
    target = psycopg_url(url)
    latest = _now(target) + CLOCK_SKEW
    with _lock, _datasource(target, statement_timeout) as datasource:
        return tuple(
            _validate(datasource, name, (rows or {}).get(name), latest, _secrets(target))
            for name in names
        )


def validate_rows(name: str, rows: Sequence[Mapping[str, Any]]) -> ValidationSummary:
    """Validate rows in memory, such as the figures of a batch, against the named suite.

    Raises UnknownName for a suite that is not registered.
    """
    import pandas as pd

    suite, table = expectations.build(name), expectations.suites.get(name).table
    try:
        with _lock:
            context = library().get_context(mode="ephemeral")
            context.variables.progress_bars = {"globally": False}
            asset = context.data_sources.add_pandas("rows").add_dataframe_asset(name)
            whole = asset.add_batch_definition_whole_dataframe("all")
            batch = whole.get_batch({"dataframe": pd.DataFrame([dict(row) for row in rows])})
            validated = batch.validate(suite, result_format=_result_format(None))
    except Exception as error:  # whatever it is, nothing was checked
        return unchecked(suite, table, error)
    outcomes = [outcome_of(result, (), owners=None) for result in validated.results]
    return summary_of(suite, table, outcomes)


def _now(url: sa.URL) -> datetime:
    engine = create_engine(url, "headway-validation")
    try:
        with engine.connect() as connection:
            if connection.scalar(sa.text(_HAS_CLOCK)):
                return clock.now(connection)
            moment: datetime = connection.execute(sa.select(sa.func.now())).scalar_one()
            return moment
    finally:
        engine.dispose()


@contextmanager
def _datasource(url: sa.URL, statement_timeout: timedelta) -> Iterator[PostgresDatasource]:
    # Given as a variable of this one context, because the library refuses a URL without a host
    # (a Unix socket), and takes a `$` in a password for a variable of its own.
    variables = {"HEADWAY_VALIDATED_URL": url.render_as_string(hide_password=False)}
    context = library().get_context(mode="ephemeral", runtime_environment=variables)
    context.variables.progress_bars = {"globally": False}
    datasource = context.data_sources.add_postgres(
        "validated",
        connection_string="${HEADWAY_VALIDATED_URL}",
        kwargs={
            "connect_args": {
                "application_name": "headway-validation",
                "options": _options(url, statement_timeout),
            }
        },
    )
    try:
        yield datasource
    finally:
        # It keeps two pools and closes neither.
        datasource.get_execution_engine().close()
        datasource.get_engine().dispose()


def _options(url: sa.URL, statement_timeout: timedelta) -> str:
    milliseconds = int(statement_timeout / timedelta(milliseconds=1))
    ours = f"-c statement_timeout={milliseconds} -c default_transaction_read_only=on"
    theirs = url.query.get("options", ())
    return " ".join([theirs, ours] if isinstance(theirs, str) else [*theirs, ours])


def _validate(
    datasource: PostgresDatasource,
    name: str,
    rows: str | None,
    latest: datetime,
    secrets: Sequence[str],
) -> ValidationSummary:
    registered = expectations.suites.get(name)
    suite, table, owner = expectations.build(name), registered.table, registered.owner_column
    try:
        if rows is None:
            asset: Any = datasource.add_table_asset(name, table_name=table)
        else:
            asset = datasource.add_query_asset(name, query=rows)
        batch = asset.add_batch_definition("all").get_batch()
        validated = batch.validate(
            suite,
            result_format=_result_format(owner),
            expectation_parameters={LATEST: latest},
        )
    except Exception as error:  # whatever it is, nothing was checked
        return unchecked(suite, table, error, secrets)
    outcomes = [
        outcome_of(result, secrets, owners=_owners(datasource, table, owner, result))
        for result in validated.results
    ]
    return summary_of(suite, table, outcomes)


def _result_format(owner: str | None) -> dict[str, Any]:
    plain = {"result_format": "BASIC", "partial_unexpected_count": 0}
    if owner is None:
        return plain
    return plain | {"return_unexpected_index_query": True, "unexpected_index_column_names": [owner]}


def _owners(
    datasource: PostgresDatasource,
    table: str,
    owner: str | None,
    result: ExpectationValidationResult,
) -> tuple[str, ...] | None:
    """Whose rows an expectation found unexpected; None where nobody can tell."""
    if result.success or owner is None:
        return None
    config: Any = result.expectation_config
    by_sql = config.kwargs.get("unexpected_rows_query")
    by_column = result.result.get("unexpected_index_query")
    try:
        with datasource.get_engine().connect() as connection:
            if by_sql:
                return owners_by_sql(connection, table, owner, by_sql)
            return owners_by_column(connection, by_column) if by_column else None
    except sa.exc.SQLAlchemyError:
        return None


def _secrets(url: sa.URL) -> tuple[str, ...]:
    with_password = url.render_as_string(hide_password=False)
    return tuple(secret for secret in (with_password, str(url.password or "")) if secret)
