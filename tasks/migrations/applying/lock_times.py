"""How long a revision kept others from its tables: as measured, beside what was predicted."""

from __future__ import annotations

import time
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.migrations.revision_graph.plan import Direction

QUERIES = load_queries(__package__, "statements.sql")


class LockTime(BaseModel):
    """A lock on a table that keeps others from writing to it, and for how long it was held."""

    model_config = ConfigDict(frozen=True)

    relation: str
    mode: str
    milliseconds: float


class Stopwatch:
    """Sees which locks come and go, and remembers the longest time of each.

    Counted from when the statement that took a lock was sent: whoever came behind it in the queue
    has waited as well.
    """

    def __init__(self) -> None:
        self._since: dict[tuple[str, str], float] = {}
        self._longest: dict[tuple[str, str], float] = {}
        self._sent = time.monotonic()

    def sends(self) -> None:
        """From now on a statement is under way."""
        self._sent = time.monotonic()

    def saw(self, locks: frozenset[tuple[str, str]]) -> None:
        """These are held now, after one statement and before the next."""
        now = time.monotonic()
        for lock in locks - self._since.keys():
            self._since[lock] = self._sent
        for lock in self._since.keys() - locks:
            self._end(lock, now)
        self._sent = now

    def stop(self, without: str) -> tuple[LockTime, ...]:
        """The transaction has ended, and the locks with it; those on one table do not count."""
        now = time.monotonic()
        for lock in list(self._since):
            self._end(lock, now)
        return tuple(
            LockTime(relation=relation, mode=mode, milliseconds=seconds * 1000)
            for (relation, mode), seconds in sorted(self._longest.items())
            if relation.rpartition(".")[2] != without
        )

    def _end(self, lock: tuple[str, str], now: float) -> None:
        held = now - self._since.pop(lock)
        self._longest[lock] = max(held, self._longest.get(lock, 0.0))


def record(
    tx: Connection,
    environment: str,
    revision: str,
    direction: Direction,
    measured: tuple[LockTime, ...],
    predicted_ms: Mapping[str, float],
    run_id: str | None,
) -> None:
    """Write what was measured beside what a rehearsal predicted, into the control database."""
    rows = [
        {
            "run_id": run_id,
            "environment": environment,
            "revision": revision,
            "direction": direction,
            "relation": each.relation,
            "mode": each.mode,
            "predicted_ms": predicted_ms.get(each.relation),
            "actual_ms": each.milliseconds,
        }
        for each in measured
    ]
    if rows:
        tx.execute(QUERIES["record_lock_time"], rows)
