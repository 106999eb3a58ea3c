"""Only passing troubles are tried again, after growing waits."""

from __future__ import annotations

import httpx
import psycopg
import psycopg.errors
import pytest
from sqlalchemy import exc

from tasks import retries
from tasks.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    HeadwayError,
    LockNotAcquired,
    Refused,
    TransientError,
)

REQUEST = httpx.Request("GET", "http://localhost")


def from_postgres(kind: type[psycopg.Error], *, is_cut: bool = False) -> exc.DBAPIError:
    wrapper = exc.OperationalError if issubclass(kind, psycopg.OperationalError) else exc.DBAPIError
    return wrapper("SELECT 1", {}, kind("x"), connection_invalidated=is_cut)


def answered(status: int) -> httpx.HTTPStatusError:
    return httpx.HTTPStatusError("x", request=REQUEST, response=httpx.Response(status))


PASSING: list[BaseException] = [
    TransientError("x"),
    LockNotAcquired("x"),
    DatabaseUnavailable("x"),
    exc.TimeoutError("the pool is empty"),
    from_postgres(psycopg.errors.SerializationFailure),
    from_postgres(psycopg.errors.DeadlockDetected),
    from_postgres(psycopg.errors.LockNotAvailable),
    from_postgres(psycopg.errors.QueryCanceled),
    from_postgres(psycopg.errors.AdminShutdown),
    from_postgres(psycopg.errors.CrashShutdown),
    from_postgres(psycopg.errors.CannotConnectNow),
    from_postgres(psycopg.errors.TooManyConnections),
    from_postgres(psycopg.errors.ConnectionFailure),
    from_postgres(psycopg.OperationalError),
    from_postgres(psycopg.Error, is_cut=True),
    httpx.ConnectError("x"),
    httpx.ReadTimeout("x"),
    answered(429),
    answered(500),
    answered(503),
]
LASTING: list[BaseException] = [
    ValueError("x"),
    KeyboardInterrupt(),
    HeadwayError("x"),
    ConfigurationError("x"),
    Refused("x", []),
    from_postgres(psycopg.errors.UniqueViolation),
    from_postgres(psycopg.errors.UndefinedTable),
    from_postgres(psycopg.errors.DiskFull),
    answered(404),
    answered(401),
    TimeoutError("of the standard library"),
]


def label(error: BaseException) -> str:
    original = getattr(error, "orig", None)
    return type(original or error).__name__


@pytest.mark.parametrize("error", PASSING, ids=label)
def test_passing_troubles_are_transient(error: BaseException) -> None:
    assert retries.is_transient(error)


@pytest.mark.parametrize("error", LASTING, ids=label)
def test_everything_else_is_not(error: BaseException) -> None:
    assert not retries.is_transient(error)


@pytest.mark.parametrize(("attempt", "least"), [(1, 0.5), (2, 1.0), (3, 2.0), (6, 16.0)])
def test_waits_double_with_up_to_half_of_jitter(attempt: int, least: float) -> None:
    waits = {retries.delay_seconds(attempt) for _ in range(200)}
    assert least <= min(waits) < max(waits) <= 1.5 * least
