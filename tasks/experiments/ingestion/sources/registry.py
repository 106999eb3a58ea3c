"""Sources by name. Another package adds its own by the entry point group `headway.sources`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any, NamedTuple

from tasks.registry import Registry


class Piece(NamedTuple):
    """Some of a source's rows, and the place where the next ones are; None after the last.

    A row is a mapping as `events.FIELDS` describes it, or a BrokenRow.
    """

    rows: Iterator[Any]
    next_place: str | None = None


Reader = Callable[[Any, str | None, date | None], Piece]
"""Gets the source's parameters, the place to go on at (None: the first), and the day, if any."""

sources: Registry[Reader] = Registry("source", "headway.sources")
