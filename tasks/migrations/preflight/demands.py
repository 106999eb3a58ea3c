"""What the statements of pending revisions demand of the rows that are there. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tasks.migrations.hazards.model import RevisionSql
from tasks.migrations.hazards.sql import NAME, UnreadableSql, plain_name, shorten, split_at_commas
from tasks.migrations.hazards.statements import ADD_COLUMN, Statement
from tasks.migrations.preflight.clauses import cast_of, type_of
from tasks.migrations.preflight.earlier import Earlier

Kind = Literal["not-null", "no-rows", "unique", "foreign-key", "check", "validate", "type", "other"]
_NAMED = rf"add (?:constraint (?P<name>{NAME}) )?"
_UNIQUE = re.compile(
    rf"{_NAMED}(?P<kind>unique|primary key)(?: nulls (?P<nulls>(?:not )?distinct))? "
    r"\( (?P<keys>[^()]+?) \)"
)
_FOREIGN_KEY = re.compile(
    rf"{_NAMED}foreign key \( (?P<mine>[^()]+?) \) references (?P<other>{NAME})"
    r"(?: \( (?P<others>[^()]+?) \))?(?P<rest>.*)"
)
_CHECK = re.compile(rf"{_NAMED}check \( (?P<check>.+) \)(?P<rest>(?: not valid| no inherit)*)$")
_NOT_NULL = re.compile(
    rf"(?:alter (?:column )?(?P<set>{NAME}) set not null|"
    rf"{_NAMED}not null (?P<column>{NAME})(?P<rest>(?: not valid| no inherit)*))$"
)
_VALIDATE = re.compile(rf"validate constraint (?P<name>{NAME})")
_TYPE = re.compile(
    rf"alter (?:column )?(?P<column>{NAME}) (?:set data )?type (?P<type>.+?)"
    rf"(?: collate {NAME})?(?: using (?P<using>.+))?$"
)
_ADD_COLUMN = re.compile(ADD_COLUMN)
_HAS_VALUE = re.compile(r"\b(?:default (?!null\b)|generated|(?:small|big)?serial\b)")
_NEEDS_VALUE = re.compile(r"\b(?:not null|primary key)\b")
_LOOKS_AT_VALUE = re.compile(r"\b(?:references|unique|primary key|check)\b")
_OTHER = re.compile(
    rf"add (?:constraint {NAME} )?(?:unique|primary key|foreign key|check|exclude|not null)\b"
    r"(?!.* not valid$)|attach partition"
)
_INDEX = re.compile(
    rf"create unique index (?:concurrently )?(?:if not exists )?(?:{NAME} )?on (?:only )?{NAME} "
    r"(?:using \w+ )?\( (?P<keys>.+?) \)(?: include \( .+? \))?(?: nulls (?P<nulls>(?:not )?"
    r"distinct))?(?: with \( .+? \))?(?: tablespace \w+)?(?: where (?P<predicate>.+))?$"
)
_ABOUT_ROWS = re.compile(r"alter table|create unique index")
_DOMAIN = re.compile(rf"alter domain ({NAME}) (?:add|validate|set not null)(?!.* not valid$)")
_KEY_OPTIONS = re.compile(r" (?:asc|desc|nulls (?:first|last)|\w+_ops)\b")


@dataclass(frozen=True, slots=True)
class Demand:
    """What a statement demands of a table's rows: columns, expressions as they are written.

    For a change of type, ``predicate`` is the new one, ``expression`` what is cast (None: the
    column as it is), and ``labels`` are the values of an enum that the plan itself makes.
    ``is_postponed`` constraints (``name``) are NOT VALID; ``written_before`` are tables that the
    plan has written by then.
    """

    kind: Kind
    table: str
    columns: tuple[str, ...] = ()
    predicate: str | None = None
    expression: str | None = None
    labels: tuple[str, ...] | None = None
    added_labels: tuple[str, ...] = ()
    other_table: str | None = None
    other_columns: tuple[str, ...] = ()
    nulls_are_equal: bool = False
    is_full: bool = False
    name: str = ""
    is_postponed: bool = False
    unknown_because: str | None = None
    revision: str = ""
    statement: str = ""
    written_before: tuple[str, ...] = ()


def demands(revisions: Sequence[RevisionSql]) -> Iterator[Demand]:
    """Everything that the statements demand of rows, in order.

    ``unknown_because`` says why a demand cannot be looked at before the plan runs: something
    before it in the plan makes or changes those rows, for one.
    """
    earlier = Earlier()
    postponed: dict[tuple[str, str], Demand] = {}
    for revision in revisions:
        if not revision.is_readable and not revision.statements:
            earlier.opaque = earlier.opaque or f"{revision.revision} does what no SQL shows before"
        for position, emitted in enumerate(revision.statements, 1):
            statement = Statement(emitted, position)
            try:
                for demand in _of_statement(statement, postponed):
                    if not earlier.is_empty(demand.table):
                        placed = replace(
                            demand, revision=revision.revision, statement=shorten(statement.sql)
                        )
                        yield _in_plan(placed, earlier)
                earlier.add(statement)
            except UnreadableSql:
                earlier.opaque = f"{revision.revision} has SQL that cannot be read"


def _in_plan(demand: Demand, earlier: Earlier) -> Demand:
    """The demand with what the plan has done by then."""
    doubt = earlier.doubt(
        demand.table, *demand.columns, demand.predicate, demand.expression
    ) or earlier.doubt(demand.other_table or "", *demand.other_columns)
    known = replace(demand, written_before=tuple(sorted(earlier.written)))
    if demand.kind == "type" and not doubt:
        name = plain_name(demand.predicate or "")
        if name in earlier.types - set(earlier.enums):
            doubt = f"the plan itself changes type {name} before"
        known = replace(
            known,
            labels=earlier.enums.get(name),
            added_labels=earlier.added_values.get(name, ()),
        )
    return replace(known, unknown_because=demand.unknown_because or doubt or None)


def _of_statement(
    statement: Statement, postponed: dict[tuple[str, str], Demand]
) -> Iterator[Demand]:
    table = statement.table
    if found := _DOMAIN.match(statement.text):
        yield _unknown(plain_name(found[1]))
    if table is None:
        if _ABOUT_ROWS.match(statement.text):  # with a name that is not understood
            yield _unknown("")
        return
    if statement.text.startswith("create unique index "):
        yield _index(table, statement.text)
    for demand in (each for action in statement.actions for each in _of_action(table, action)):
        if demand.is_postponed:
            postponed[table, demand.name] = replace(demand, is_postponed=False)
        elif demand.kind == "validate":
            yield postponed.get((table, demand.name), demand)
        else:
            yield demand


def _of_action(table: str, action: str) -> list[Demand]:
    found = (read(table, action) for read in _READERS)
    return next((each for each in found if each is not None), [])


def _index(table: str, text: str) -> Demand:
    found = _INDEX.match(text)
    if found is None:
        return _unknown(table)
    equal = found["nulls"] == "not distinct"
    keys, where = _keys(found["keys"]), found["predicate"]
    return Demand("unique", table, keys, predicate=where, nulls_are_equal=equal)


def _not_null(table: str, action: str) -> list[Demand] | None:
    found = _NOT_NULL.match(action)
    if found is None:
        return None
    return [Demand("not-null", table, (found["set"] or found["column"],), **_bound(found))]


def _unique(table: str, action: str) -> list[Demand] | None:
    found = _UNIQUE.match(action)
    if found is None:
        return None
    keys, equal = _keys(found["keys"]), found["nulls"] == "not distinct"
    unique = Demand("unique", table, keys, nulls_are_equal=equal)
    if found["kind"] == "unique":
        return [unique]
    return [*(Demand("not-null", table, (key,)) for key in keys), unique]


def _foreign_key(table: str, action: str) -> list[Demand] | None:
    found = _FOREIGN_KEY.match(action)
    if found is None:
        return None
    return [
        Demand(
            "foreign-key",
            table,
            split_at_commas(found["mine"]),
            other_table=plain_name(found["other"]),
            other_columns=split_at_commas(found["others"] or ""),
            is_full=" match full" in found["rest"],
            **_bound(found),
        )
    ]


def _check(table: str, action: str) -> list[Demand] | None:
    found = _CHECK.match(action)
    return [Demand("check", table, predicate=found["check"], **_bound(found))] if found else None


def _validate(table: str, action: str) -> list[Demand] | None:
    found = _VALIDATE.match(action)
    return [Demand("validate", table, name=plain_name(found["name"]))] if found else None


def _type(table: str, action: str) -> list[Demand] | None:
    found = _TYPE.match(action)
    if found is None:
        return None
    demand = Demand("type", table, (found["column"],), predicate=type_of(found["type"]))
    if found["using"] is None:
        return [demand]
    expression, written = cast_of(found["using"])
    if type_of(written) != demand.predicate:
        return [replace(demand, unknown_because="it computes the new values (USING)")]
    return [replace(demand, expression=expression)]


def _added_column(table: str, action: str) -> list[Demand] | None:
    found = _ADD_COLUMN.match(action)
    if found is None:
        return None
    if not _HAS_VALUE.search(found["rest"]):
        needs = _NEEDS_VALUE.search(found["rest"])
        return [Demand("no-rows", table, (found["column"],))] if needs else []
    if _LOOKS_AT_VALUE.search(found["rest"]) and "serial" not in found["rest"]:
        return [_unknown(table)]
    return []


def _other(table: str, action: str) -> list[Demand] | None:
    return [_unknown(table)] if _OTHER.match(action) else None


def _unknown(table: str) -> Demand:
    return Demand("other", table, unknown_because="what it demands shows only when it is tried")


def _bound(found: re.Match[str]) -> Any:
    """The name of a constraint, and whether it binds new rows only until it is validated."""
    name, is_postponed = found["name"] or "", " not valid" in (found["rest"] or "")
    return {"name": plain_name(name), "is_postponed": is_postponed}


def _keys(listed: str) -> tuple[str, ...]:
    return tuple(_KEY_OPTIONS.sub("", each) for each in split_at_commas(listed))


_READERS: tuple[Callable[[str, str], list[Demand] | None], ...] = (
    _not_null,
    _validate,
    _unique,
    _foreign_key,
    _check,
    _type,
    _other,
    _added_column,
)
