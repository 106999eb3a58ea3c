"""Measure what each statement of a revision does: time, locks, rewrites, rows read and written.

What follows from two looks at the tables (`surroundings`), the second of which is the first of the
next statement, unless something else was sent in between.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import sqlalchemy as sa
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection

from tasks.migrations.rehearsal.locks import LockClock, Watch
from tasks.migrations.rehearsal.model import STRENGTH, LockTime, MeasuredStatement
from tasks.migrations.rehearsal.surroundings import State, grown, look, rewritten
from tasks.migrations.revision_graph.plan import Direction

_OURS = re.compile(
    r"\bheadway(?:_archive)?\.|\bpg_catalog\.pg_|\bset_config\b|pg_advisory_|\bsa_savepoint_"
)
_TRUNCATES = re.compile(r"\btruncate\b", re.IGNORECASE)


_is_aside: ContextVar[bool] = ContextVar("headway_aside", default=False)


@contextmanager
def aside() -> Iterator[None]:
    """What is sent until the end is Headway's, not the revision's: only its locks count."""
    token = _is_aside.set(True)
    try:
        yield
    finally:
        _is_aside.reset(token)


class Trace:
    """The statements of one revision in one direction, while it runs."""

    def __init__(
        self,
        connection: Connection,
        revision: str,
        direction: Direction,
        version_table: str,
        waited_for: frozenset[int] | None = None,
    ) -> None:
        self.statements: list[MeasuredStatement] = []
        self.milliseconds = 0.0
        self._connection, self._version_table = connection, version_table
        self._revision, self.direction = revision, direction
        self._driver: Any = connection.connection.driver_connection
        self._waited_for = waited_for
        self._clock = LockClock()
        self._last: State | None = None
        self._before: State | None = None
        self._unseen_since: float | None = None
        self._watch: Watch | None = None
        self._names: dict[int, str] = {}
        self._started = 0.0

    @property
    def lock_times(self) -> tuple[LockTime, ...]:
        """How long each lock that others wait for was held."""
        waited_for = self._names.keys() if self._waited_for is None else self._waited_for
        return self._clock.times({o: n for o, n in self._names.items() if o in waited_for})

    def before(self, _connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        """A statement is about to be sent."""
        self._before = None
        if self._is_revisions_own(statement):
            with self._clock.stopped():
                self._look_before()
        elif self._unseen_since is None:
            self._unseen_since = self._clock.now()
        self._started = self._clock.now()

    def after(self, _connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        """A statement has been answered."""
        took = self._clock.now() - self._started
        if not self._is_revisions_own(statement):
            return
        with self._clock.stopped():
            watched = self.stop_watching()
            if self._before is None:
                return
            before, after = self._before, self._look()
            new = (after.locks - before.locks) | watched
            self._clock.took(new, self._started)
            if watched:
                self._clock.let_go()
            self._last = after
            self._report(statement, took, before, after, new)

    def failed(self, context: Any) -> None:
        """A statement has failed: what it did cannot be asked any more."""
        self.stop_watching()
        self._last = self._before = None
        self.statements.append(
            MeasuredStatement(
                revision=self._revision,
                direction=self.direction,
                position=len(self.statements) + 1,
                sql=context.statement or "",
                milliseconds=(self._clock.now() - self._started) * 1000,
                sqlstate=getattr(context.original_exception, "sqlstate", None),
            )
        )

    def stop_watching(self) -> frozenset[tuple[int, str]]:
        """The locks that were seen while a statement committed by itself."""
        watch, self._watch = self._watch, None
        return watch.stop() if watch else frozenset()

    def ended(self, *_: Any) -> None:
        """The transaction is about to end, and with it its locks."""
        is_open = self._driver.info.transaction_status == TransactionStatus.INTRANS
        if self._unseen_since is not None and is_open:
            with self._clock.stopped():
                self._look_at_unseen()
        self._last = self._unseen_since = None
        self._clock.let_go()

    def _look_before(self) -> None:
        # A revision that has caught an error goes back to its savepoint first.
        if self._driver.info.transaction_status == TransactionStatus.INERROR:
            self._last = None
            return
        if self._driver.autocommit:
            self._before = self._look()
            self._watch = Watch(self._connection.engine, self._driver.info.backend_pid)
            return
        if self._last is None or self._unseen_since is not None:
            self._last = self._look_at_unseen()
        self._before = self._last

    def _look_at_unseen(self) -> State:
        """The state now; what statements of Headway have locked counts since the first of them."""
        found = self._look()
        if self._unseen_since is not None:
            known = self._last.locks if self._last else frozenset()
            self._clock.took(found.locks - known, self._unseen_since)
            self._unseen_since = None
        return found

    def _report(
        self,
        statement: str,
        took: float,
        before: State,
        after: State,
        new: frozenset[tuple[int, str]],
    ) -> None:
        anew = rewritten(before, after)
        is_truncate = bool(_TRUNCATES.search(statement))
        self.statements.append(
            MeasuredStatement(
                revision=self._revision,
                direction=self.direction,
                position=len(self.statements) + 1,
                sql=statement,
                milliseconds=took * 1000,
                locks=self._stronger(new, before.locks),
                all_locks=self._all(new),
                rewrites=() if is_truncate else anew,
                truncated=anew if is_truncate else (),
                rows_scanned=grown(before, after, "scanned"),
                rows_written=grown(before, after, "written"),
            )
        )

    def _is_revisions_own(self, statement: str) -> bool:
        if _is_aside.get():
            return False
        return self._version_table not in statement and not _OURS.search(statement)

    def _stronger(
        self, new: frozenset[tuple[int, str]], held: frozenset[tuple[int, str]]
    ) -> dict[str, str]:
        """The strongest new lock of each table, where it is stronger than what was held."""
        known = self._all(held)
        strongest = {name: modes[-1] for name, modes in self._all(new).items()}
        return {
            name: mode
            for name, mode in strongest.items()
            if name not in known or STRENGTH.index(mode) > STRENGTH.index(known[name][-1])
        }

    def _all(self, locks: frozenset[tuple[int, str]]) -> dict[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {}
        for oid, mode in locks:
            if oid in self._names:
                found.setdefault(self._names[oid], []).append(mode)
        return {name: tuple(sorted(found[name], key=STRENGTH.index)) for name in sorted(found)}

    def _look(self) -> State:
        found = look(self._driver, self._connection.dialect, self._version_table)
        self._names.update({oid: table.name for oid, table in found.tables.items()})
        known = frozenset(lock for lock in found.locks if lock[0] in self._names)
        return State(found.tables, known)


@contextmanager
def measuring(
    connection: Connection,
    revision: str,
    direction: Direction,
    *,
    version_table: str = "alembic_version",
    waited_for: frozenset[int] | None = None,
) -> Iterator[Trace]:
    """Trace what is executed on the connection; statements of Alembic and Headway are left out.

    ``waited_for`` are the tables whose locks somebody may wait for (default: all).
    """
    trace = Trace(connection, revision, direction, version_table, waited_for)
    handlers = {
        "before_cursor_execute": trace.before,
        "after_cursor_execute": trace.after,
        "commit": trace.ended,
        "rollback": trace.ended,
    }
    for name, handler in handlers.items():
        sa.event.listen(connection, name, handler)
    sa.event.listen(connection.engine, "handle_error", trace.failed)
    started = time.perf_counter()
    try:
        yield trace
    finally:
        trace.stop_watching()
        trace.milliseconds = (time.perf_counter() - started) * 1000
        for name, handler in handlers.items():
            sa.event.remove(connection, name, handler)
        sa.event.remove(connection.engine, "handle_error", trace.failed)
