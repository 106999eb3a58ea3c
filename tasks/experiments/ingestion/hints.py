"""Columns that nobody reads, where one that is needed is missing and is called almost so."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from tasks.experiments.ingestion.events import FIELDS

_NEEDED = ("experiment", "user_id", "variant", "assigned_at", "event_type", "event_timestamp")
_KNOWN = frozenset({"kind", *(field.column for fields in FIELDS.values() for field in fields)})


def unread_columns(raws: Iterable[Any]) -> tuple[str, ...]:
    """What the first row that can be read calls otherwise than it must, in sentences."""
    first = next((raw for raw in raws if isinstance(raw, Mapping)), {})
    return similar_columns([str(name) for name in first])


def similar_columns(names: Collection[str]) -> tuple[str, ...]:
    """A sentence for each needed column that is missing while another is called almost so."""
    unread = [name for name in names if name not in _KNOWN]
    found = ((needed, _alike(needed, unread)) for needed in _NEEDED if needed not in names)
    return tuple(
        f"column {name[:80]!r} is not read: should it be called {needed}?"
        for needed, name in found
        if name is not None
    )


def _alike(needed: str, unread: list[str]) -> str | None:
    plain = {name.casefold().replace("_", "").replace(" ", ""): name for name in unread}
    word = needed.replace("_", "")
    close = get_close_matches(word, plain, n=1, cutoff=0.75)
    holding = [name for name in plain if word in name]
    return next((plain[name] for name in [*close, *holding]), None)
