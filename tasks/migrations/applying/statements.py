"""Runs the statements of a revision one by one, and knows which are done.

A revision without an autocommit block is one transaction with its history row: nothing of it is
journalled. One that commits while it runs is: what comes before a block is written down in the
transaction that the block commits, a statement in the block in a transaction with its own row.
Only where Postgres allows no transaction (CONCURRENTLY) is it written down before and after; the
catalogue then says what became of a statement that was never answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import Connection, Row, event

from tasks.database import load_queries
from tasks.migrations.applying import (
    fence,
    invalid_indexes,
    postconditions,
    statement_journal,
    statement_kinds,
)
from tasks.migrations.applying.fence import Fence
from tasks.migrations.applying.lock_times import Stopwatch
from tasks.migrations.applying.statement_journal import Place

QUERIES = load_queries(__package__, "statements.sql")
Send = Callable[[], None]


class Statements:
    """The statements of one revision on one connection."""

    def __init__(
        self,
        connection: Connection,
        held: Fence,
        place: Place,
        *,
        at_commit: Callable[[], None] | None = None,
    ) -> None:
        self._connection, self._fence, self._place = connection, held, place
        self._at_commit = at_commit
        self.locks = Stopwatch()
        self._known: list[Row[Any]] = []
        self._next = 0
        self._unwritten: list[tuple[int, str, str]] = []
        self._is_first = True
        self._is_ours = False

    @contextmanager
    def following(self) -> Iterator[None]:
        """Everything that the connection sends inside is the revision's."""
        self._known = statement_journal.read(self._connection, self._place)
        self._is_first = True
        engine = self._connection.engine
        listeners: dict[str, Callable[..., Any]] = {
            "do_execute": self._on_one,
            "do_executemany": self._on_many,
            "do_execute_no_params": self._on_plain,
        }
        for name, listener in listeners.items():
            event.listen(engine, name, listener)
        try:
            yield
        finally:
            for name, listener in listeners.items():
                event.remove(engine, name, listener)
        self._require_end()

    def is_resumed(self) -> bool:
        """True if an earlier try has committed a part of the revision."""
        return any(
            row.state == "done" for row in statement_journal.read(self._connection, self._place)
        )

    def look(self) -> None:
        """Make sure of the migration lock, and see which locks are held; FenceLost if it is not."""
        with self._ours():
            self.locks.saw(fence.look(self._connection, self._fence).locks)

    def before_commit(self) -> None:
        """What was sent so far is about to be committed: write it down in that transaction."""
        self.look()
        with self._ours():
            commit = statement_kinds.hash_of("COMMIT")
            if self._take(commit, "COMMIT") is not None:
                return
            if self._at_commit is not None:
                self._at_commit()
            for position, digest, statement in self._unwritten:
                statement_journal.write(
                    self._connection, self._place, position, digest, statement, "done"
                )
            self._unwritten.clear()
            statement_journal.write(
                self._connection, self._place, self._next, commit, "COMMIT", "done"
            )

    def _on_one(self, cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        def send() -> None:
            context.dialect.do_execute(cursor, statement, parameters, context)

        return self._on(cursor, statement, parameters, send)

    def _on_many(self, cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        def send() -> None:
            context.dialect.do_executemany(cursor, statement, parameters, context)

        return self._on(cursor, statement, parameters, send)

    def _on_plain(self, cursor: Any, statement: str, context: Any) -> bool:
        def send() -> None:
            context.dialect.do_execute_no_params(cursor, statement, context)

        return self._on(cursor, statement, None, send)

    def _on(self, cursor: Any, statement: str, parameters: Any, send: Send) -> bool:
        """True if the statement was dealt with, so that nobody else sends it."""
        driver: Any = self._connection.connection.driver_connection
        if self._is_ours or cursor.connection is not driver:
            return False
        if statement_kinds.is_of_session(statement):
            return False
        is_committed = bool(driver.autocommit)
        self._look_before_sending(is_committed)
        if statement_kinds.is_commit(statement):
            if not is_committed:
                self.before_commit()
            return False
        with self._ours():
            if statement_kinds.is_read(statement):
                return self._read(cursor, statement, parameters, send, is_committed)
            return self._change(cursor, statement, parameters, send, is_committed)

    def _look_before_sending(self, is_committed: bool) -> None:
        # There is a look before each commit; so before what opens a transaction nothing is gained.
        if is_committed or not self._is_first:
            self.look()
        self._is_first = False

    def _read(
        self, cursor: Any, statement: str, parameters: Any, send: Send, is_committed: bool
    ) -> bool:
        digest = statement_kinds.hash_of(statement, parameters)
        if self._is_replaying:
            if self._known[self._next].statement_hash == digest:
                self._next += 1
            _send_without_effect(cursor, send)
            return True
        if not is_committed:
            return False
        with cursor.connection.transaction():
            send()
            if self._connection.scalar(QUERIES["has_written"]):  # by a function in it
                self._next += 1
                statement_journal.write(
                    self._connection, self._place, self._next, digest, statement, "done"
                )
        return True

    def _change(
        self, cursor: Any, statement: str, parameters: Any, send: Send, is_committed: bool
    ) -> bool:
        digest = statement_kinds.hash_of(statement, parameters)
        known = self._take(digest, statement)
        if known is not None and known.state == "done":
            return True
        if not is_committed:
            self._unwritten.append((self._next, digest, statement))
            return False
        if statement_kinds.fits_into_transaction(statement):
            with cursor.connection.transaction():
                send()
                statement_journal.write(
                    self._connection, self._place, self._next, digest, statement, "done"
                )
                self.locks.saw(fence.look(self._connection, self._fence).locks)
            return True
        self._send_alone(statement, digest, known, send)
        return True

    def _send_alone(self, statement: str, digest: str, known: Row[Any] | None, send: Send) -> None:
        if known is not None and known.state == "started":
            if postconditions.has_happened(self._connection, self._place.revision, statement):
                statement_journal.end(self._connection, known.id, "done")
                return
            statement_journal.end(self._connection, known.id, "failed")
        invalid_indexes.drop_for(self._connection, statement)
        row = statement_journal.write(
            self._connection, self._place, self._next, digest, statement, "started"
        )
        try:
            send()
        except psycopg.Error as error:
            if error.sqlstate is not None and not _is_lost(self._connection):
                statement_journal.end(self._connection, row, "failed", error.sqlstate)
            raise
        statement_journal.end(self._connection, row, "done")

    @property
    def _is_replaying(self) -> bool:
        return any(row.state == "done" for row in self._known[self._next :])

    def _take(self, digest: str, statement: str) -> Row[Any] | None:
        """The next row of the journal, which must be this statement's; None after the last."""
        while self._next < len(self._known):
            row = self._known[self._next]
            self._next += 1
            if row.statement_hash == digest:
                return row
            if row.state == "failed":  # it was mended
                return None
            # Alembic creates a type only if it is not there: the second time it is.
            if not (row.state == "done" and row.statement.upper().startswith("CREATE TYPE")):
                raise statement_journal.mismatch(self._place, row, statement)
        self._next += 1
        return None

    def _require_end(self) -> None:
        left = [row for row in self._known[self._next :] if row.state != "failed"]
        if left:
            raise statement_journal.mismatch(self._place, left[0], "the end of the revision")

    @contextmanager
    def _ours(self) -> Iterator[None]:
        before, self._is_ours = self._is_ours, True
        try:
            yield
        finally:
            self._is_ours = before


def _is_lost(connection: Connection) -> bool:
    """True if the server is gone, so that nothing more can be written."""
    driver: Any = connection.connection.driver_connection
    return driver is None or bool(driver.closed)


def _send_without_effect(cursor: Any, send: Send) -> None:
    """Read again what was read before; where a function in it writes, it was done before too."""
    try:
        with cursor.connection.transaction(force_rollback=True):
            cursor.connection.execute("SET TRANSACTION READ ONLY")
            send()
    except psycopg.errors.ReadOnlySqlTransaction:
        return
