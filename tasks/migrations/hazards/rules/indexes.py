"""Indexes: built beside the traffic or against it, and what may go wrong on a retry."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tasks.migrations.hazards.reading import Reading
from tasks.migrations.hazards.registry import Finding, hazard
from tasks.migrations.hazards.statements import Statement, matching

_CONCURRENTLY = (
    r"create (?:unique )?index concurrently|drop index concurrently|reindex .*\bconcurrently\b|"
    r"alter table .* detach partition .* concurrently"
)


@hazard(
    "index-not-concurrent",
    "high",
    instead="CONCURRENTLY, in an autocommit block alone in its revision",
    unsafe="CREATE INDEX orders_user ON orders (user_id)",
    safe="COMMIT; CREATE INDEX CONCURRENTLY orders_user ON orders (user_id); BEGIN",
    decided_by="time",
)
def index_not_concurrent(reading: Reading) -> Iterator[Finding]:
    """Nobody can write (or, for a drop, read) while it lasts."""
    pattern = (
        r"create (?:unique )?index (?!concurrently)|drop index (?!concurrently)|"
        r"reindex (?!system)(?!.*\bconcurrently\b)"
    )
    built = _built_here(reading)
    for statement, _ in matching(reading.statements, pattern):
        if statement.text.startswith("drop") and _index_names(statement) <= built:
            continue
        where = statement.table or "the table"
        what = (
            f"nobody can read or write {where} until the commit, once the lock is there"
            if statement.text.startswith("drop")
            else f"nobody can write to {where} while the index is built"
        )
        yield Finding(what, statement)


def _built_here(reading: Reading) -> set[str]:
    pattern = r"create (?:unique )?index (?:if not exists )?(\S+) on "
    return {found[1] for _, found in matching(reading.statements, pattern)}


def _index_names(statement: Statement) -> set[str]:
    return set(re.sub(r"drop index (?:if exists )?", "", statement.text).split(" , "))


@hazard(
    "concurrently-in-transaction",
    "critical",
    instead="with op.get_context().autocommit_block(): … alone in its revision",
    unsafe="CREATE INDEX CONCURRENTLY orders_user ON orders (user_id)",
    safe="COMMIT; CREATE INDEX CONCURRENTLY orders_user ON orders (user_id); BEGIN",
    is_about_rows=False,
    fails_anywhere=True,
)
def concurrently_in_transaction(reading: Reading) -> Iterator[Finding]:
    """Postgres refuses CONCURRENTLY inside a transaction."""
    for statement, _ in matching(reading.statements, _CONCURRENTLY):
        if statement.transaction is not None:
            yield Finding("Postgres refuses it inside a transaction: it fails", statement)


@hazard(
    "concurrently-if-not-exists",
    "critical",
    instead="DROP INDEX CONCURRENTLY IF EXISTS, then create; Headway drops an invalid one itself",
    unsafe="COMMIT; CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON orders (user_id); BEGIN",
    safe="COMMIT; DROP INDEX CONCURRENTLY IF EXISTS i; "
    "CREATE INDEX CONCURRENTLY i ON orders (user_id); BEGIN",
)
def concurrently_if_not_exists(reading: Reading) -> Iterator[Finding]:
    """An index that an earlier try left invalid counts as there."""
    pattern = r"create (?:unique )?index concurrently if not exists"
    for statement, _ in matching(reading.statements, pattern):
        yield Finding(
            "if an earlier try left the index invalid, this says that all is well, and no query "
            "ever uses it",
            statement,
        )


@hazard(
    "autocommit-after-ddl",
    "high",
    instead="two revisions: what is in the transaction, and what commits by itself",
    unsafe="ALTER TABLE orders ADD COLUMN region text; COMMIT; "
    "CREATE INDEX CONCURRENTLY orders_region ON orders (region); BEGIN",
    safe="COMMIT; CREATE INDEX CONCURRENTLY orders_region ON orders (region); BEGIN",
    is_about_rows=False,
)
def autocommit_after_ddl(reading: Reading) -> Iterator[Finding]:
    """If the second half fails, the first is done, and plain Alembic cannot try again."""
    began = False
    for statement in reading.statements:
        if statement.transaction is not None and not statement.text.startswith(("set ", "reset ")):
            began = True
        elif statement.transaction is None and began:
            yield Finding(
                "what the revision did before is committed here: if this statement fails, the "
                "revision is half done",
                statement,
            )
            return
