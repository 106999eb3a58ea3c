"""Which views and tables hang on which, read from their definitions. Pure.

Postgres changes no type of a column that a view shows, and drops no table that another needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tasks.migrations.drift.ddl.words import Objects
from tasks.migrations.fingerprint.model import Attributes, Difference, kind_of, name_of

_VIEWS = {"view", "materialized view"}
_SHAPE = {"type", "collation"}


def in_the_way(differences: Iterable[Difference], before: Objects, after: Objects) -> list[str]:
    """Views on both sides that must go while what they show changes: a column, or a view."""
    waiting = [
        str(before[each.object].get("of"))
        for each in differences
        if kind_of(each.object) == "column" and each.attribute in _SHAPE
    ]
    found = [
        each.object
        for each in differences
        if each.attribute == "definition"
        and kind_of(each.object) in _VIEWS
        and not is_replaceable(each.object, before[each.object], after[each.object])
    ]
    waiting += found
    while waiting:
        key = waiting.pop()
        above = [view for view in _that_mention(key, before) if view not in found]
        found += above
        waiting += above
    return [view for view in found if view in after]


def is_replaceable(key: str, before: Attributes, after: Attributes) -> bool:
    """True of a view that keeps its columns, and gets more at the end at most."""
    old, new = list(before.get("shape", ())), list(after.get("shape", ()))
    return kind_of(key) == "view" and new[: len(old)] == old


def generation(key: str, objects: Objects) -> int:
    """How many tables lie above this one, as its parents and theirs; 0 for what is no table."""
    found = objects.get(key)
    if found is None or kind_of(key) != "table":
        return 0
    partition = str(found.get("partition") or "").partition(" ")[0]
    parents = [*found.get("inherits", ()), *([partition] if partition else [])]
    return 1 + max((generation(f"table {parent}", objects) for parent in parents), default=0)


def goes_with_its_parent(key: str, before: Objects, after: Objects) -> bool:
    """True of a partition whose table goes: that takes it along."""
    parent = f"table {str(before[key].get('partition') or '').partition(' ')[0]}"
    return parent in before and parent not in after


def depth(key: str, objects: Objects) -> int:
    """How many views lie below this one; 0 for what is no view."""
    if kind_of(key) not in _VIEWS or key not in objects:
        return 0
    views = [each for each in objects if each != key and kind_of(each) in _VIEWS]
    below = [view for view in views if key in _that_mention(view, objects)]
    return 1 + max((depth(view, objects) for view in below), default=0)


def _that_mention(key: str, objects: Objects) -> list[str]:
    name = re.compile(rf'(?<![\w".]){re.escape(name_of(key))}(?![\w"])')
    return [
        each
        for each, found in objects.items()
        if kind_of(each) in _VIEWS and each != key and name.search(str(found["definition"]))
    ]
