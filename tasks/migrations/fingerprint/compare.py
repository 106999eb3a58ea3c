"""What differs between two fingerprints, by object and attribute. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tasks.migrations.fingerprint.majors import as_on_any_major, is_same_on_other_major
from tasks.migrations.fingerprint.model import (
    UNCOMPARED,
    Attributes,
    Change,
    Difference,
    Fingerprint,
    is_information,
    kind_of,
)

# Whole statements, made of the other attributes: said only where no other attribute differs.
_WHOLE_STATEMENT = "definition"
_NOTHING: Attributes = {}


def compare(expected: Fingerprint, actual: Fingerprint) -> tuple[Difference, ...]:
    """Every difference, sorted by object and attribute; a rename is a removal and an addition.

    What goes or comes with its table is not listed beside it. Fingerprints of two major versions
    are compared without what these print differently for the same thing.
    """
    is_other_major = expected.server_major != actual.server_major
    before, after = expected.objects, actual.objects
    if is_other_major:
        before, after = as_on_any_major(before), as_on_any_major(after)
    changed = [
        difference
        for key in before.keys() & after.keys()
        for difference in _changed(key, before[key], after[key], is_other_major)
    ]
    found = [
        *_one_sided(before, after, "removed"),
        *_one_sided(after, before, "added"),
        *_without_followers(changed, after),
    ]
    return tuple(sorted(found, key=lambda each: (each.object, each.attribute or "")))


def _one_sided(
    these: Mapping[str, Attributes], others: Mapping[str, Attributes], change: Change
) -> Iterator[Difference]:
    for key in these.keys() - others.keys():
        whole = these[key].get("of")
        if whole is not None and whole in these and whole not in others:
            continue
        side = "expected" if change == "removed" else "actual"
        yield Difference(object=key, change=change, **{side: these[key]})


def _changed(
    key: str, expected: Attributes, actual: Attributes, is_other_major: bool
) -> Iterator[Difference]:
    differing = [
        name
        for name in sorted((expected.keys() | actual.keys()) - UNCOMPARED)
        if not _is_same(name, expected.get(name), actual.get(name), is_other_major)
    ]
    telling = [name for name in differing if not is_information(key, name)]
    for name in differing:
        if name == _WHOLE_STATEMENT and len(telling) > 1:
            continue
        yield Difference(
            object=key,
            change="changed",
            attribute=name,
            expected=expected.get(name),
            actual=actual.get(name),
            is_information=is_information(key, name),
        )


def _without_followers(
    changed: list[Difference], objects: Mapping[str, Attributes]
) -> Iterator[Difference]:
    """Without what a sequence has only because the table that owns it has it."""
    known = {
        (each.object, each.attribute, repr(each.expected), repr(each.actual)) for each in changed
    }
    for each in changed:
        column = objects[each.object].get("of") if kind_of(each.object) == "sequence" else None
        table = objects.get(column or "", _NOTHING).get("of")
        if (table, each.attribute, repr(each.expected), repr(each.actual)) not in known:
            yield each


def _is_same(name: str, expected: Any, actual: Any, is_other_major: bool) -> bool:
    if expected == actual:
        return True
    if name == "column_order":
        return _is_same_order(expected or [], actual or [])
    return is_other_major and is_same_on_other_major(name, expected, actual)


def _is_same_order(expected: list[str], actual: list[str]) -> bool:
    common = set(expected) & set(actual)
    return [each for each in expected if each in common] == [
        each for each in actual if each in common
    ]
