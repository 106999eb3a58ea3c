"""A backend whose client died goes on with its statement, and holds its locks: find it, end it."""

from __future__ import annotations

import logging
from contextlib import nullcontext

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from tasks.database import load_queries
from tasks.migrations.applying.blockers import LOCK_KEY

QUERIES = load_queries(__package__, "session.sql")
PREFIX = "headway-migrate/"
# The server looks this often whether the client of a running statement is still there.
CHECK_CLIENT = "2s"
_TERMINATION_MS = 5_000
_logger = logging.getLogger("headway.migrations")


def application_name(run_id: str) -> str:
    """By which the sessions of a run are known on the server."""
    return PREFIX + run_id


def end_with_client(connection: Connection) -> bool:
    """Let the server end this session's statement soon after its client is gone.

    False where the platform of the server cannot tell (then an orphan runs to its end).
    """
    is_callers = connection.in_transaction()
    try:
        with connection.begin_nested() if is_callers else nullcontext():
            connection.execute(
                text("SELECT set_config('client_connection_check_interval', :every, false)"),
                {"every": CHECK_CLIENT},
            )
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        if not is_callers:
            connection.rollback()
        return False
    return True


def end_them(connection: Connection) -> bool:
    """Terminate Headway's sessions that hold the migration lock; True if one was ended.

    Only for when somebody has approved it: that the client of a session is dead shows nowhere in
    its server, and the run of a client that was killed still says `running`.
    """
    held = connection.execute(QUERIES["migrating_backends"], {"key": LOCK_KEY}).all()
    for row in held:
        asked = {"pid": row.pid, "milliseconds": _TERMINATION_MS}
        connection.execute(QUERIES["terminate_backend"], asked)
        _logger.warning("ended session %s of %s", row.pid, row.application_name)
    return bool(held)
