"""Which names Postgres chose by itself: they differ without meaning anything. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_LABELS = {
    "primary key": "pkey",
    "unique": "key",
    "foreign key": "fkey",
    "check": "check",
    "exclude": "excl",
    "index": "idx",
    "sequence": "seq",
}
_MOST_BYTES = 63


def is_chosen_by_postgres(name: str, kind: str, table: str, columns: Sequence[str]) -> bool:
    """True if Postgres names such an object so by itself (with a number if the name is taken)."""
    label = _LABELS.get(kind)
    found = label and re.fullmatch(rf".*_({label}\d*)", name, re.DOTALL)
    if not found:
        return False
    addition = _addition(kind, columns)
    return name == _joined(table, addition, found[1])


def _addition(kind: str, columns: Sequence[str]) -> str | None:
    if kind == "primary key":
        return None
    if kind == "check":
        return columns[0] if len(columns) == 1 else None
    return _clip("_".join(columns), _MOST_BYTES)


def _joined(table: str, addition: str | None, label: str) -> str:
    """Postgres's makeObjectName: the longer of the two names gives way first."""
    room = _MOST_BYTES - len(label) - 1 - (0 if addition is None else 1)
    first, second = len(table.encode()), len((addition or "").encode())
    while first + second > room:
        if first > second:
            first -= 1
        else:
            second -= 1
    parts = [_clip(table, first), label]
    if addition is not None:
        parts.insert(1, _clip(addition, second))
    return "_".join(parts)


def _clip(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")
