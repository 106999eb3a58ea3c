"""Which errors are passing troubles, and how long to wait before the next try."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tasks.errors import DatabaseUnavailable, HeadwayError

T = TypeVar("T")

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_TRANSIENT_SQLSTATES = frozenset(
    {
        "40001",  # serialization failure
        "40P01",  # deadlock
        "55P03",  # lock not available: lock_timeout
        "57014",  # query cancelled: statement_timeout
        "57P01",  # terminated by an administrator
        "57P02",  # crash shutdown
        "57P03",  # cannot connect now
        "53300",  # too many connections
    }
)
# 0.5, 1, 2, 4 and 8 s: long enough for a database that restarts.
RETRIES = 5
FIRST_DELAY_SECONDS = 0.5
JITTER_FRACTION = 0.5


def is_transient(error: BaseException) -> bool:
    """True if trying again may help: connection lost, deadlock, timeout, 429 and 5xx.

    Headway's own errors say it of themselves (`retryable`).
    """
    if isinstance(error, HeadwayError):
        return error.retryable
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or _is_transient_sqlstate(error)
    if isinstance(error, PoolTimeout):  # every connection of this process is in use
        return True
    return _is_transient_answer(error)


def is_connection_lost(error: BaseException) -> bool:
    """True if the database could not be reached, whatever was asked of it."""
    if isinstance(error, DBAPIError):
        sqlstate = getattr(error.orig, "sqlstate", None)
        is_unanswered = sqlstate is None and type(error).__name__ == "OperationalError"
        return error.connection_invalidated or is_unanswered or _is_lost_sqlstate(sqlstate or "")
    return isinstance(error, DatabaseUnavailable | PoolTimeout)


def _is_transient_answer(error: BaseException) -> bool:
    # Every command would wait for httpx's import; where nobody did, no error is one of its.
    httpx: Any = sys.modules.get("httpx")
    if httpx is None:
        return False
    if isinstance(error, httpx.HTTPStatusError):
        is_busy = error.response.status_code == httpx.codes.TOO_MANY_REQUESTS
        return bool(is_busy or error.response.is_server_error)
    return isinstance(error, httpx.TransportError)


def delay_seconds(attempt: int) -> float:
    """Seconds to wait after the given failed attempt (1, 2, …): 0.5, 1, 2, … plus up to half."""
    base = FIRST_DELAY_SECONDS * 2.0 ** (attempt - 1)
    return base * (1 + JITTER_FRACTION * random.random())  # noqa: S311 - jitter, not a secret


def call(
    act: Callable[[int], T], warn: Callable[[Exception, float], None], *, retries: int = RETRIES
) -> T:
    """Call ``act`` with the number of the attempt (1, 2, …) until it works.

    A transient error is tried again up to ``retries`` times: ``warn`` gets it with the seconds
    to wait. Any other error, and the last one, is raised.
    """
    for attempt in range(1, retries + 1):
        try:
            return act(attempt)
        except Exception as error:
            if not is_transient(error):
                raise
            wait = delay_seconds(attempt)
            warn(error, wait)
            time.sleep(wait)
    return act(retries + 1)


def _is_transient_sqlstate(error: DBAPIError) -> bool:
    sqlstate = getattr(error.orig, "sqlstate", None)
    if sqlstate is None:
        # psycopg gives no SQLSTATE when the socket died under it or nobody answered.
        return type(error).__name__ == "OperationalError"
    return sqlstate in _TRANSIENT_SQLSTATES or _is_lost_sqlstate(sqlstate)


def _is_lost_sqlstate(sqlstate: str) -> bool:
    return sqlstate.startswith(("08", "57P"))
