"""How long locks are held: a clock that stands while we measure, and a look at another session."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine

from tasks.database import load_queries
from tasks.migrations import environments
from tasks.migrations.rehearsal.model import BLOCKING, LockTime

QUERIES = load_queries(__package__)
_LOOK_EVERY_SECONDS = 0.002


def tables_to_wait_for(connection: Connection) -> frozenset[int]:
    """The tables that there are, whose locks others may wait for; in its own transaction."""
    with connection.begin():
        return frozenset(connection.scalars(QUERIES["tables_to_wait_for"]))


class LockClock:
    """Remembers since when locks are held, on a clock that leaves our own measuring out."""

    def __init__(self) -> None:
        self._measuring = 0.0
        self._since: dict[tuple[int, str], float] = {}
        self._held: dict[tuple[int, str], float] = {}

    def now(self) -> float:
        """Seconds without those that the measuring took."""
        return time.perf_counter() - self._measuring

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Do not count the time until the end of the block."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._measuring += time.perf_counter() - started

    def took(self, locks: Iterable[tuple[int, str]], since: float) -> None:
        """These locks are held since then, those that nobody waits for left out."""
        for lock in locks:
            if lock[1] in BLOCKING:
                self._since.setdefault(lock, since)

    def let_go(self) -> None:
        """All locks end now."""
        for lock, since in self._since.items():
            self._held[lock] = max(self._held.get(lock, 0.0), self.now() - since)
        self._since.clear()

    def times(self, names: Mapping[int, str]) -> tuple[LockTime, ...]:
        """The longest time of each lock, by the names of the tables."""
        found = [
            LockTime(relation=names[oid], mode=mode, milliseconds=seconds * 1000)
            for (oid, mode), seconds in self._held.items()
            if oid in names
        ]
        return tuple(sorted(found, key=lambda each: (each.relation, each.mode)))


class Watch:
    """Looks at the locks of a session whose statement commits by itself, until it is stopped."""

    def __init__(self, engine: Engine, pid: int) -> None:
        self._pid = pid
        self._seen: set[tuple[int, str]] = set()
        self._is_over = threading.Event()
        url = engine.url.render_as_string(hide_password=False)
        self._connection = environments.engine(url, "headway-watch").connect()
        driver: Any = self._connection.connection.driver_connection
        driver.autocommit = True
        self._driver = driver
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> frozenset[tuple[int, str]]:
        """The tables and modes that were seen."""
        self._is_over.set()
        self._thread.join()
        self._connection.close()
        return frozenset(self._seen)

    def _look(self) -> None:
        query = str(QUERIES["locks_of_session"].compile(dialect=self._connection.dialect))
        while not self._is_over.is_set():
            self._seen.update(self._driver.execute(query, {"pid": self._pid}).fetchall())
            self._is_over.wait(_LOOK_EVERY_SECONDS)
