"""A row of the history for a try that failed: what was sent last, and what the database said."""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from tasks import jsonb
from tasks.database import load_queries
from tasks.migrations.applying import statement_kinds
from tasks.migrations.project import Project
from tasks.migrations.revision_graph import checksums
from tasks.migrations.revision_graph import reading as revisions
from tasks.migrations.revision_graph.history import Occasion
from tasks.migrations.revision_graph.plan import Direction

QUERIES = load_queries(__package__, "statements.sql")
_MESSAGE_LENGTH = 2_000
_logger = logging.getLogger("headway.migrations")


@contextmanager
def recorded(
    engine: Engine, project: Project, revision: str, direction: Direction, occasion: Occasion
) -> Iterator[None]:
    """Write a row with outcome `failed` if something is raised inside, and raise it on.

    In a transaction of its own, on a connection of its own; if that fails too, only a log line
    says so. The parameters of a statement are not written: they may be values of rows.
    """
    started_at = datetime.now(UTC)
    try:
        yield
    except Exception as error:
        row = {
            "environment": occasion.environment,
            "revision": revision,
            "direction": direction,
            "run_id": occasion.run_id,
            "actor": occasion.actor,
            "reason": occasion.reason,
            "started_at": started_at,
            **_checksums(project, revision),
            **_described(error),
        }
        _write(engine, row)
        raise


def _checksums(project: Project, revision: str) -> dict[str, str]:
    source = revisions.read_source(revisions.find_file(project, revision))
    script = checksums.script_checksum(ast.parse(source))
    return {"content_checksum": checksums.checksum(source), "script_checksum": script}


def _described(error: Exception) -> dict[str, str | None]:
    cause = error if isinstance(error, DBAPIError) else error.__cause__
    if not isinstance(cause, DBAPIError):
        return {"statement": None, "sqlstate": None, "message": _text(error)}
    diagnosis = getattr(cause.orig, "diag", None)
    primary = diagnosis.message_primary if diagnosis else None
    return {
        "statement": jsonb.text(statement_kinds.shorten(cause.statement or "")),
        "sqlstate": getattr(cause.orig, "sqlstate", None),
        "message": _text(error) if error is not cause else primary or type(cause.orig).__name__,
    }


def _text(error: Exception) -> str | None:
    return jsonb.text(str(error)[:_MESSAGE_LENGTH])


def _write(engine: Engine, row: Mapping[str, object]) -> None:
    try:
        with engine.begin() as connection:
            connection.execute(QUERIES["record_failure"], row)
    except Exception as second:  # the database may be what failed; the error itself must not hide
        _logger.warning("the failed try could not be recorded: %s", type(second).__name__)
