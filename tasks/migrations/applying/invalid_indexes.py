"""Indexes that a concurrent build has left behind, invalid: found, explained, dropped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alembic.runtime.migration import MigrationContext, MigrationInfo
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from tasks.database import load_queries
from tasks.errors import HeadwayError
from tasks.migrations.applying import duplicates, statement_kinds
from tasks.migrations.applying.statement_kinds import BuiltIndex

QUERIES = load_queries(__package__, "statements.sql")
_CATALOGUE = load_queries(__package__)


class IndexLeftInvalid(HeadwayError):
    """A concurrent build of an index failed and left it behind, invalid."""

    def __init__(self, indexes: Sequence[str], what: str) -> None:
        self.indexes, self.what = tuple(indexes), what
        drop = "; ".join(f"DROP INDEX CONCURRENTLY {name}" for name in self.indexes)
        super().__init__(
            f"{what}: a build that failed left {', '.join(self.indexes)} behind, which is invalid "
            "(it costs writes and answers nothing). Remove the cause and migrate again: the index "
            f"is dropped first and built anew; or give it up: {drop}"
        )

    def __reduce__(self) -> tuple[type[IndexLeftInvalid], tuple[tuple[str, ...], str]]:
        return type(self), (self.indexes, self.what)


def named(connection: Connection, text_of: str) -> tuple[str, ...]:
    """Indexes that are invalid, and named in the text: a statement, or a revision's file."""
    found = connection.scalars(_CATALOGUE["invalid_indexes"])
    return tuple(name for name in found if re.search(rf"\b{re.escape(name)}\b", text_of))


def require_valid(context: MigrationContext, step: MigrationInfo) -> None:
    """A revision is not applied while an index of its is invalid (`IF NOT EXISTS` passes it by)."""
    script: Any = step.up_revision
    if context.as_sql or context.connection is None or not step.is_upgrade or step.is_stamp:
        return
    broken = named(context.connection, Path(script.path).read_text("utf-8"))
    if broken:
        raise IndexLeftInvalid(broken, f"revision {step.up_revision_id} is not applied")


def explain(connection: Connection, error: DBAPIError) -> None:
    """Raise IndexLeftInvalid if the failed statement has left one, with the duplicates if any."""
    if "CONCURRENTLY" not in (error.statement or "").upper() or error.connection_invalidated:
        return
    with connection.engine.connect() as other:
        broken = named(other, error.statement or "")
        found = [_duplicates(other, name) for name in broken]
    if broken:
        what = "; ".join([str(error.orig).partition("\n")[0], *filter(None, found)])
        raise IndexLeftInvalid(broken, what) from error


def is_built(connection: Connection, index: BuiltIndex) -> bool:
    """True if the index is there, and valid."""
    found = connection.execute(QUERIES["index_of_table"], _place(index)).first()
    return found is not None and bool(found.is_valid)


def drop_for(connection: Connection, statement: str) -> None:
    """Drop what an earlier try of this statement has left invalid, outside of a transaction.

    Also where the statement says IF NOT EXISTS, which would be content with it. An index that
    another session is building right now is left alone.
    """
    index = statement_kinds.built_index(statement)
    if index is None:
        return
    found = connection.execute(QUERIES["index_of_table"], _place(index)).first()
    if found is not None and not found.is_valid and not found.is_being_built:
        name = found.name.replace(":", r"\:")
        connection.execute(text(f"DROP INDEX CONCURRENTLY {name}"))  # quoted by the catalogue


def _place(index: BuiltIndex) -> dict[str, str]:
    return {"index": index.name, "table": index.table}


def _duplicates(connection: Connection, index: str) -> str:
    row = connection.execute(QUERIES["key_of_invalid_index"], {"index": index}).first()
    if row is None:
        return ""
    found = duplicates.find(connection, row.table_name, row.keys, row.predicate)
    keys = ", ".join(found.first_keys)
    return f"{found.count} keys of {row.table_name} are there more than once: {keys}"
