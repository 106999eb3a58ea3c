"""The rollouts of a batch as a tick finds them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import NotFound
from tasks.rollouts.changes import record
from tasks.rollouts.changes.record import Rollout

QUERIES = load_queries(__package__, "tick.sql")


class FoundRollout(Rollout):
    """A rollout, and what its earlier ticks left: all that a tick must know of it.

    ``latest_slot`` is the last one that was decided, ``latest_window_end`` where its windows ended;
    ``alerted`` are the metrics with an alert that is not resolved.
    """

    now: datetime
    latest_slot: str | None
    latest_window_end: datetime | None
    alerted: frozenset[str]


def find_rollouts(tx: Connection, rollout_ids: Sequence[int]) -> list[FoundRollout]:
    """The rollouts with these numbers, in their order; who is gone is left out."""
    found = record.read(tx, FoundRollout, rollout_ids=rollout_ids)
    return sorted(found, key=lambda rollout: rollout.id)


def lock_rollouts(tx: Connection, rollout_ids: Sequence[int]) -> list[FoundRollout]:
    """As `find_rollouts`, kept from others until the transaction ends; NotFound if one is gone."""
    locked = tx.scalars(QUERIES["lock_rollouts"], {"rollout_ids": list(rollout_ids)}).all()
    gone = sorted(set(rollout_ids) - set(locked))
    if gone:
        raise NotFound(f"there is no rollout with the number {', '.join(map(str, gone))}")
    return find_rollouts(tx, rollout_ids)
