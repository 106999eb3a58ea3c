"""Validate tables against their Great Expectations suites (`expectations/`).

A check that cannot run (a missing table or column, a statement that takes too long) is told
apart from one that ran and failed. What is returned holds counts and reasons: no rows, no
connection URL.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, JsonValue

import expectations
from expectations.owners import owners_by_column, owners_by_sql
from expectations.suite import LATEST, library
from tasks import clock
from tasks.database import create_engine, psycopg_url

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.datasource.fluent.postgres_datasource import PostgresDatasource

DEFAULT_STATEMENT_TIMEOUT = timedelta(minutes=5)
# Applications stamp their rows by their own clocks.
CLOCK_SKEW = timedelta(minutes=5)
_HAS_CLOCK = (
    "SELECT EXISTS (SELECT FROM pg_namespace "
    "WHERE nspname = 'headway' AND has_schema_privilege(oid, 'USAGE'))"
)
_MESSAGE_LENGTH = 500
# The library keeps its current context in a global: one validation at a time in a process.
_lock = threading.Lock()


class Outcome(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    COULD_NOT_BE_CHECKED = "could-not-be-checked"


class ExpectationOutcome(BaseModel):
    """One expectation: what was looked at, how it ended and how many rows were unexpected.

    ``observed_value`` is an aggregate (a count, a share, a time), never the content of a row.
    ``owners`` are those whose rows failed, where the suite says whose a row is; None where it does
    not, or it could not be told.
    """

    model_config = ConfigDict(frozen=True)

    expectation: str
    column: str | None
    outcome: Outcome
    severity: str
    owner: str | None
    reason: str | None
    observed_value: JsonValue = None
    unexpected_count: int | None = None
    unexpected_percent: float | None = None
    message: str | None = None
    owners: tuple[str, ...] | None = None


class ValidationSummary(BaseModel):
    """One suite on one table. It failed if any expectation did, else it passed if all did."""

    model_config = ConfigDict(frozen=True)

    suite: str
    table: str
    outcome: Outcome
    expectations: tuple[ExpectationOutcome, ...]

    @property
    def problems(self) -> tuple[ExpectationOutcome, ...]:
        """The expectations that did not pass."""
        return tuple(e for e in self.expectations if e.outcome is not Outcome.PASSED)

    @property
    def has_critical_failure(self) -> bool:
        """True if an expectation of severity `critical` failed."""
        return any(
            e.outcome is Outcome.FAILED and e.severity == "critical" for e in self.expectations
        )


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
        found = _nothing_checked(suite, _message(str(error), ()))
    else:
        outcomes = [_outcome(result, (), owners=None) for result in validated.results]
        found = _in_order(suite, outcomes)
    return ValidationSummary(suite=name, table=table, outcome=_worst(found), expectations=found)


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
        found = _nothing_checked(suite, _message(str(error), secrets))
    else:
        outcomes = [
            _outcome(result, secrets, owners=_owners(datasource, table, owner, result))
            for result in validated.results
        ]
        found = _in_order(suite, outcomes)
    return ValidationSummary(suite=name, table=table, outcome=_worst(found), expectations=found)


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


def _outcome(
    result: ExpectationValidationResult,
    secrets: Sequence[str],
    *,
    owners: tuple[str, ...] | None,
) -> ExpectationOutcome:
    config: Any = result.expectation_config
    errors = [] if result.success else _errors(result.exception_info or {})
    if errors:
        message = _message(errors[0], secrets)
        return _described(config, Outcome.COULD_NOT_BE_CHECKED, message=message)
    figures = result.result
    observed = _aggregate(figures.get("observed_value"))
    is_sql = config.type == "unexpected_rows_expectation"
    return _described(
        config,
        Outcome.PASSED if result.success else Outcome.FAILED,
        observed_value=observed,
        unexpected_count=observed if is_sql else figures.get("unexpected_count"),
        unexpected_percent=figures.get("unexpected_percent"),
        owners=owners,
    )


def _described(config: Any, outcome: Outcome, **figures: Any) -> ExpectationOutcome:
    kwargs, meta = config.kwargs, config.meta or {}
    named = [kwargs.get(key) for key in ("column", "column_A", "column_B")]
    columns = [name for name in [*named, *kwargs.get("column_list", [])] if name]
    return ExpectationOutcome(
        expectation=config.type,
        column=", ".join(columns) or None,
        outcome=outcome,
        severity=str(getattr(config.severity, "value", config.severity)),
        owner=meta.get("owner"),
        reason=meta.get("reason"),
        **figures,
    )


def _nothing_checked(suite: ExpectationSuite, message: str) -> tuple[ExpectationOutcome, ...]:
    return tuple(
        _described(expectation.configuration, Outcome.COULD_NOT_BE_CHECKED, message=message)
        for expectation in suite.expectations
    )


def _in_order(
    suite: ExpectationSuite, found: Sequence[ExpectationOutcome]
) -> tuple[ExpectationOutcome, ...]:
    # The library gives the broken ones first; people read them as the suite lists them.
    place = {(e.meta or {}).get("reason"): i for i, e in enumerate(suite.expectations)}
    return tuple(sorted(found, key=lambda outcome: place.get(outcome.reason, len(place))))


def _worst(found: Sequence[ExpectationOutcome]) -> Outcome:
    outcomes = {expectation.outcome for expectation in found}
    for outcome in (Outcome.FAILED, Outcome.COULD_NOT_BE_CHECKED):
        if outcome in outcomes:
            return outcome
    return Outcome.PASSED


def _errors(info: Mapping[str, Any]) -> list[str]:
    """Messages of the exceptions; they come flat, or one for each metric that broke."""
    entries = [info] if "raised_exception" in info else list(info.values())
    return [str(e.get("exception_message")) for e in entries if e.get("raised_exception")]


def _message(text: str, secrets: Sequence[str]) -> str:
    """The first line of an error: what follows may hold SQL, parameters and rows."""
    line = text.strip().partition("\n")[0][:_MESSAGE_LENGTH]
    for secret in secrets:
        line = line.replace(secret, "***")
    return line


def _secrets(url: sa.URL) -> tuple[str, ...]:
    with_password = url.render_as_string(hide_password=False)
    return tuple(secret for secret in (with_password, str(url.password or "")) if secret)


def _aggregate(value: Any) -> JsonValue:
    """The value as JSON if it is a figure (or named figures); None if it may show rows."""
    if hasattr(value, "item"):  # NumPy's scalars are not JSON
        value = value.item()
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): _figures(item) for name, item in value.items()}
    return None


def _figures(value: Any) -> JsonValue:
    return [_aggregate(item) for item in value] if isinstance(value, list) else _aggregate(value)
