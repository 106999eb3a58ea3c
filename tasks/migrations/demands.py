"""What the statements of pending revisions demand of the rows that are there. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tasks.migrations.hazards.model import RevisionSql
from tasks.migrations.hazards.sql import NAME, UnreadableSql, plain_name, shorten, split_at_commas
from tasks.migrations.hazards.statements import Statement

Kind = Literal["not-null", "no-rows", "unique", "foreign-key", "check", "validate", "type"]
_SET_NOT_NULL = re.compile(rf"alter (?:column )?({NAME}) set not null$")
_ADD_COLUMN = re.compile(
    rf"add (?!constraint |primary |unique |check |foreign |exclude )(?:column )?({NAME}) (.+)"
)
_HAS_VALUE = re.compile(r"\b(?:default|generated|serial|bigserial|smallserial|identity)\b")
_NAMED = rf"add (?:constraint {NAME} )?"
_UNIQUE = re.compile(rf"{_NAMED}(?:unique( nulls not distinct)?|primary key) \( (.+?) \)(?! using)")
_FOREIGN_KEY = re.compile(
    rf"{_NAMED}foreign key \( (.+?) \) references ({NAME})(?: \( (.+?) \))?(.*)"
)
_CHECK = re.compile(rf"{_NAMED}check \( (.+) \)((?: not valid| no inherit)*)$")
_VALIDATE = re.compile(rf"validate constraint ({NAME})")
_TYPE = re.compile(rf"alter (?:column )?({NAME}) (?:set data )?type (.+?)( using .+)?$")
_INDEX = re.compile(
    rf"create unique index (?:concurrently )?(?:if not exists )?(?:{NAME} )?on (?:only )?{NAME} "
    r"(?:using \w+ )?\( (.+?) \)(?: include \( .+? \))?( nulls not distinct)?"
    r"(?: with \( .+? \))?(?: tablespace \w+)?(?: where (.+))?$"
)
_OPAQUE = re.compile(r"do |call |select (?!pg_catalog\.|set_config)|execute ")
_KEY_OPTIONS = re.compile(r" (?:asc|desc|nulls (?:first|last)|\w+_ops)\b")


@dataclass(frozen=True, slots=True)
class Demand:
    """What a statement demands of a table's rows: columns, expressions as they are written."""

    kind: Kind
    revision: str
    statement: str
    table: str
    columns: tuple[str, ...] = ()
    predicate: str | None = None
    other_table: str | None = None
    other_columns: tuple[str, ...] = ()
    nulls_are_equal: bool = False
    unknown_because: str | None = None


def demands(revisions: Sequence[RevisionSql]) -> Iterator[Demand]:
    """Everything that the statements demand of rows, in order.

    ``unknown_because`` says why a demand cannot be looked at before the plan runs: something
    before it in the plan makes or changes those rows.
    """
    changed: set[str] = set()
    hidden = ""
    for revision in revisions:
        if not revision.is_readable:
            hidden = hidden or f"{revision.revision} does what its SQL does not show"
        for position, emitted in enumerate(revision.statements, 1):
            statement = Statement(emitted, position)
            try:
                for demand in _of_statement(revision.revision, statement):
                    yield _with_reason(demand, changed, hidden)
                hidden = hidden or _hides(statement)
                changed |= _changed(statement)
            except UnreadableSql:
                hidden = hidden or f"{revision.revision} has SQL that cannot be read"


def _with_reason(demand: Demand, changed: set[str], hidden: str) -> Demand:
    if {demand.table, demand.other_table} & changed:
        why = "the plan itself makes or changes those rows before"
        return replace(demand, unknown_because=why)
    return replace(demand, unknown_because=hidden) if hidden else demand


def _changed(statement: Statement) -> set[str]:
    is_change = statement.is_writing or statement.is_filling or statement.created_table
    if is_change or re.match(r"insert |truncate ", statement.text):
        return set(statement.tables)
    return set()


def _hides(statement: Statement) -> str:
    is_change = statement.is_writing and not statement.tables
    if is_change or _OPAQUE.match(statement.text):
        return f"`{shorten(statement.sql, 60)}` may change any rows"
    return ""


def _of_statement(revision: str, statement: Statement) -> Iterator[Demand]:
    table = statement.table
    if table is None:
        return
    sql = shorten(statement.sql)
    if found := _INDEX.match(statement.text):
        yield Demand(
            "unique",
            revision,
            sql,
            table,
            columns=_keys(found[1]),
            predicate=found[3],
            nulls_are_equal=bool(found[2]),
        )
    for action in statement.actions:
        demand = _of_action(revision, sql, table, action)
        if demand is not None:
            yield demand


def _of_action(revision: str, sql: str, table: str, action: str) -> Demand | None:
    if found := _SET_NOT_NULL.match(action):
        return Demand("not-null", revision, sql, table, (found[1],))
    if found := _VALIDATE.match(action):
        return Demand("validate", revision, sql, table, (found[1],))
    if found := _UNIQUE.match(action):
        equal = bool(found[1])
        return Demand("unique", revision, sql, table, _keys(found[2]), nulls_are_equal=equal)
    if (found := _FOREIGN_KEY.match(action)) and "not valid" not in found[4]:
        others = split_at_commas(found[3]) if found[3] else ()
        mine = split_at_commas(found[1])
        other = plain_name(found[2])
        return Demand(
            "foreign-key", revision, sql, table, mine, other_table=other, other_columns=others
        )
    if (found := _CHECK.match(action)) and "not valid" not in found[2]:
        return Demand("check", revision, sql, table, predicate=found[1])
    if found := _TYPE.match(action):
        why = "it computes the new values (USING)" if found[3] else None
        return Demand(
            "type", revision, sql, table, (found[1],), predicate=found[2], unknown_because=why
        )
    return _of_added_column(revision, sql, table, action)


def _of_added_column(revision: str, sql: str, table: str, action: str) -> Demand | None:
    found = _ADD_COLUMN.match(action)
    if not found or _HAS_VALUE.search(found[2]) or not re.search(r"\bnot null\b", found[2]):
        return None
    return Demand("no-rows", revision, sql, table, (found[1],))


def _keys(listed: str) -> tuple[str, ...]:
    return tuple(_KEY_OPTIONS.sub("", each) for each in split_at_commas(listed))
