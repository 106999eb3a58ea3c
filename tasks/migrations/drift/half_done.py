"""What a revision that commits on its way has left, where it has not come to its end: no drift."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.migrations.fingerprint.model import Difference, name_of

QUERIES = load_queries(__package__)


@dataclass(frozen=True, slots=True)
class HalfDone:
    """A statement that was sent, of a revision that will go on where it stopped."""

    revision: str
    statement: str


def read(connection: Connection) -> tuple[HalfDone, ...]:
    """The statements of half-done revisions; nothing without schema `headway`."""
    if not connection.scalar(QUERIES["tables_exist"]):
        return ()
    rows = connection.execute(QUERIES["half_done_statements"])
    return tuple(HalfDone(row.revision, row.statement) for row in rows)


def split(
    differences: Sequence[Difference], sent: Sequence[HalfDone]
) -> tuple[tuple[Difference, ...], tuple[Difference, ...]]:
    """Those that nobody has explained, and those in what a half-done revision names."""
    named = {word for each in sent for word in _words(each.statement)}
    explained = tuple(each for each in differences if _relation(each) in named)
    return tuple(each for each in differences if each not in explained), explained


def _relation(difference: Difference) -> str:
    """The object in its schema that it is, or is part of."""
    words = _words(name_of(difference.object))
    return words[1] if len(words) > 1 else "".join(words)


def _words(text: str) -> list[str]:
    return re.findall(r"[\w$]+", text.lower())
