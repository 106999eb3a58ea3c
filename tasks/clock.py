"""The time is the database's, never the worker's: SQL `headway.clock_now()`."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from tasks.errors import Reason, Refused


def now(tx: Connection) -> datetime:
    """`headway.clock_now()`: the start of the transaction, plus the clock's offset."""
    moment: datetime = tx.execute(text("SELECT headway.clock_now()")).scalar_one()
    return moment


def shift(tx: Connection, by: timedelta) -> datetime:
    """Move the clock; Refused where the database was not made for that."""
    try:
        with tx.begin_nested():
            moment: datetime = tx.execute(
                text("SELECT headway.shift_clock(:by)"), {"by": by}
            ).scalar_one()
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != "P0001":
            raise
        reason = Reason(
            "clock-is-real",
            "the clock of this database may not be shifted; only databases made for tests, "
            "the demo or unprotected local use allow it",
        )
        raise Refused("shifting the clock", [reason]) from None
    return moment
