"""From one fingerprint to another: which statements, in which order, and what is left. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tasks.migrations.drift.ddl import others, parts, tables, words
from tasks.migrations.drift.ddl.dependents import (
    depth,
    generation,
    goes_with_its_parent,
    in_the_way,
)
from tasks.migrations.drift.ddl.words import ByHand, Objects, Phase, Step
from tasks.migrations.fingerprint.compare import compare
from tasks.migrations.fingerprint.model import (
    Attributes,
    Difference,
    Fingerprint,
    kind_of,
    name_of,
)

Create = Callable[[str, Attributes, Objects], Iterator[Step]]
Drop = Callable[[str, Attributes], Iterator[Step]]
Alter = Callable[[str, str, Attributes, Attributes], Iterator[Step]]


@dataclass(frozen=True, slots=True)
class Ddl:
    """Statements in the order in which they run; ``by_hand`` are differences that need a person."""

    statements: tuple[str, ...]
    by_hand: tuple[str, ...] = ()


_VIEW = (others.create_view, others.drop_view, others.alter_view)
_FUNCTION = (others.create_function, others.drop_function, others.alter_function)
_PART = (parts.create_part, parts.drop_part, parts.alter_part)
_TYPE = (others.create_type, others.drop_type, others.alter_type)
_NAMED = (others.create_named, others.drop_named, others.alter_named)
_KINDS: dict[str, tuple[Create, Drop, Alter]] = {
    "table": (tables.create_table, tables.drop_table, tables.alter_table),
    "column": (tables.add_column, tables.drop_column, tables.alter_column),
    "constraint": (parts.add_constraint, parts.drop_constraint, parts.alter_constraint),
    "index": (parts.create_index, parts.drop_index, parts.alter_index),
    "trigger": _PART,
    "rule": _PART,
    "policy": _PART,
    "view": _VIEW,
    "materialized view": _VIEW,
    "function": _FUNCTION,
    "procedure": _FUNCTION,
    "aggregate": _FUNCTION,
    "sequence": (others.create_sequence, others.drop_sequence, others.alter_sequence),
    "enum": _TYPE,
    "domain": _TYPE,
    "composite type": _TYPE,
    "range type": _TYPE,
}
# What a new table has in its own statement.
_INLINE = {"column"}


def write(before: Fingerprint, after: Fingerprint) -> Ddl:
    """The statements that make ``after`` of ``before``, what depends on others dropped first."""
    differences = [each for each in compare(before, after) if not each.is_information]
    steps: list[tuple[str, Step]] = []
    by_hand: list[str] = []
    for difference in differences:
        key = difference.object
        try:
            found = list(_steps(difference, before.objects, after.objects))
        except (ByHand, KeyError, StopIteration, ValueError):
            by_hand.append(difference.text)
        else:
            steps += [(key, step) for step in found]
    for view in in_the_way(differences, before.objects, after.objects):
        steps += [(view, step) for step in _made_anew(view, before.objects, after.objects)]
    ordered = sorted(
        steps, key=lambda each: _order(each[0], each[1], before.objects, after.objects)
    )
    return Ddl(tuple(dict.fromkeys(sql for _, (_, sql) in ordered)), tuple(by_hand))


def _order(key: str, step: Step, before: Objects, after: Objects) -> tuple[Phase, int]:
    """Views and tables come after those that they are made of, and go before them."""
    phase, _ = step
    if phase in {Phase.DROP_VIEWS, Phase.DROP_TABLES}:
        return phase, -depth(key, before) - generation(key, before)
    if phase in {Phase.CREATE_VIEWS, Phase.CREATE_TABLES}:
        return phase, depth(key, after) + generation(key, after)
    return phase, 0


def _made_anew(view: str, before: Objects, after: Objects) -> Iterator[Step]:
    create, drop, _ = _KINDS[kind_of(view)]
    yield from drop(view, before[view])
    yield from _created(view, create, after)
    yield words.alter_owner(view, after[view])


def _steps(difference: Difference, before: Objects, after: Objects) -> Iterator[Step]:
    key = difference.object
    create, drop, alter = _KINDS.get(kind_of(key), _NAMED)
    if difference.change == "removed":
        yield from _dropped(key, drop, before, after)
    elif difference.change == "added":
        yield from _created(key, create, after)
    elif difference.attribute == "owner":
        yield words.alter_owner(key, after[key])
    elif difference.attribute == "comment" and kind_of(key) not in _COMMENTED_BY_THEMSELVES:
        yield words.comment(f"{words.keyword(key)} {name_of(key)}", after[key])
    elif difference.attribute == "grants" and kind_of(key) != "column":
        yield from words.grants(key, before[key], after[key])
    else:
        yield from alter(key, difference.attribute or "", before[key], after[key])


_COMMENTED_BY_THEMSELVES = {"constraint", "index", "trigger", "rule", "policy"}


def _dropped(key: str, drop: Drop, before: Objects, after: Objects) -> Iterator[Step]:
    """The object; of a table first what would keep others from being dropped."""
    if kind_of(key) == "table":
        if goes_with_its_parent(key, before, after):
            return
        for each, found in before.items():
            if found.get("of") == key and _may_need_others(each, found):
                yield from _KINDS[kind_of(each)][1](each, found)
    yield from drop(key, before[key])


def _may_need_others(part: str, found: Attributes) -> bool:
    is_foreign = found.get("constraint_kind") == "foreign key"
    return is_foreign or kind_of(part) in {"policy", "rule"}


def _created(key: str, create: Create, objects: Objects) -> Iterator[Step]:
    """The object, and all that is part of it."""
    yield from create(key, objects[key], objects)
    for each, found in objects.items():
        if found.get("of") != key:
            continue
        if kind_of(each) in _INLINE:
            yield from tables.column_extras(each, found)
            yield from _created_with(each, objects)
        else:
            yield from _created(each, _KINDS.get(kind_of(each), _NAMED)[0], objects)


def _created_with(column: str, objects: Objects) -> Iterator[Step]:
    for each, found in objects.items():
        if found.get("of") == column:
            yield from _created(each, _KINDS[kind_of(each)][0], objects)
