"""Did a statement happen whose answer was lost? The catalogue says so, where anything does."""

from __future__ import annotations

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import EffectUnknown
from tasks.migrations.applying import invalid_indexes, statement_kinds

QUERIES = load_queries(__package__, "statements.sql")


def has_happened(connection: Connection, revision: str, statement: str) -> bool:
    """True if what the statement would bring about is there; False if it may be sent again.

    Raises:
        EffectUnknown: nothing shows it.
    """
    index = statement_kinds.built_index(statement)
    if index is not None:
        return invalid_indexes.is_built(connection, index)
    dropped = statement_kinds.dropped_index(statement)
    if dropped is not None:
        return not connection.scalar(QUERIES["index_exists"], {"index": dropped})
    if statement_kinds.is_repeatable(statement):
        return False
    raise EffectUnknown(
        f"{revision}: an earlier try sent `{statement_kinds.shorten(statement)}` and was cut off; "
        "it commits by itself, and nothing shows whether it did. Look, then finish the revision "
        "by hand and adopt it, or undo the statement and set its row in "
        "headway.migration_statement to 'failed'"
    )
