"""Slots: what a rollout is moved up in at most once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tasks.rollouts.definition.schedule import parse_slot

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHORTEST, _LONGEST = 60.0, 3600.0  # a slot is named by its minute, and never more than an hour


def slot_within(tick: str, tick_seconds: float) -> str:
    """The slot of a rollout, whose ticks are so far apart, that a tick falls into: its beginning.

    Slots are as long as its ticks are apart, an hour at most and a minute at least.
    """
    seconds = min(max(tick_seconds, _SHORTEST), _LONGEST)
    passed = (datetime.fromisoformat(tick) - _EPOCH).total_seconds()
    return parse_slot((_EPOCH + timedelta(seconds=passed // seconds * seconds)).isoformat())
