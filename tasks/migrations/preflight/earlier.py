"""What the statements of a plan before one have done to the rows and names that it is about. Pure.

What they have touched cannot be looked at before the plan runs: the database is not there yet.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tasks.migrations.hazards.sql import NAME, plain_name, shorten, split_at_commas
from tasks.migrations.hazards.statements import ADD_COLUMN, Statement
from tasks.migrations.preflight.clauses import words

_WRITTEN = re.compile(
    rf"\b(?:insert into|delete from|merge into|update)(?: only)? "
    rf"(?!set\b|of\b|skip\b|nowait\b)({NAME})"
)
_COPIED = re.compile(rf"(?:copy|truncate(?: table)?(?: only)?) ({NAME}(?: , {NAME})*)")
_OPAQUE = re.compile(
    r"do |call |execute |select .*\(|set (?:local |session )?"
    r"(?:search_path|role|session authorization|schema)\b"
)
_HARMLESS = re.compile(r"select (?:pg_catalog\.)?(?:set_config|setval) \(")
_COLUMN = re.compile(
    rf"rename (?:column )?(?!to\b|constraint\b)(?P<old>{NAME}) to (?P<new>{NAME})|"
    rf"drop (?!constraint\b)(?:column )?(?:if exists )?(?P<gone>{NAME})|"
    rf"alter (?:column )?(?P<changed>{NAME}) (?:set data )?type |{ADD_COLUMN}"
)
_TABLE = re.compile(rf"rename to ({NAME})|set schema ({NAME})")
_DROPPED = re.compile(rf"drop table (?:if exists )?({NAME}(?: , {NAME})*)")
_TYPE = re.compile(
    rf"(?:alter|create|drop) (?:type|domain) (?:if exists )?({NAME})(?: rename to ({NAME}))?"
)
_ENUM = re.compile(rf"create type ({NAME}) as enum \((.*)\)$")
_ADD_VALUE = re.compile(rf"alter type ({NAME}) add value (?:if not exists )?('(?:[^']|'')*')")


@dataclass
class Earlier:
    """Tables that are new, written or moved; columns and types that changed; enums made anew."""

    new_tables: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    moved: set[str] = field(default_factory=set)
    columns: dict[str, set[str]] = field(default_factory=dict)
    types: set[str] = field(default_factory=set)
    enums: dict[str, tuple[str, ...]] = field(default_factory=dict)
    added_values: dict[str, tuple[str, ...]] = field(default_factory=dict)
    opaque: str = ""

    def is_empty(self, table: str) -> bool:
        """True if the plan makes the table and puts nothing into it."""
        return table in self.new_tables - self.written and not self.opaque

    def doubt(self, table: str, *expressions: str | None) -> str:
        """Why what these expressions say of the table's rows cannot be looked at now, if so."""
        if self.opaque:
            return self.opaque
        if table in self.new_tables | self.moved:
            return f"the plan itself makes {table} before"
        if table in self.written:
            return f"the plan itself changes rows of {table} before"
        changed = self.columns.get(table, set()) & words(*expressions)
        return f"the plan itself changes {table}.{min(changed)} before" if changed else ""

    def add(self, statement: Statement) -> None:
        """Take one more statement into account."""
        text = statement.text
        if _OPAQUE.match(text) and not _HARMLESS.match(text):
            self.opaque = self.opaque or f"`{shorten(statement.sql, 60)}` may change any rows"
        if statement.created_table:
            self.new_tables.add(statement.created_table)
        self._add_written(statement)
        self._add_types(text)
        if statement.table:
            for action in statement.actions:
                self._add_action(statement.table, action)

    def _add_written(self, statement: Statement) -> None:
        if statement.actions or statement.text.startswith(("create function", "create or replace")):
            return
        text = statement.text
        found = {name for each in (_COPIED, _DROPPED) if (m := each.match(text)) for name in [m[1]]}
        listed = [name for each in found for name in each.split(" , ")]
        dropped = text.startswith("drop ")
        (self.moved if dropped else self.written).update(map(plain_name, listed))
        self.new_tables -= set(map(plain_name, listed)) if dropped else set()
        self.written |= {plain_name(found[1]) for found in _WRITTEN.finditer(text)}
        if re.match(r"create .*?\bas (?:select|with|\()", text) and statement.created_table:
            self.written.add(statement.created_table)

    def _add_action(self, table: str, action: str) -> None:
        if found := _TABLE.match(action):
            schema, dot, name = table.rpartition(".")
            new = f"{schema}{dot}{found[1]}" if found[1] else f"{found[2]}.{name}"
            self.moved |= {table, plain_name(new)}
        elif found := _COLUMN.match(action):
            names = (found[each] for each in ("old", "new", "gone", "changed", "column"))
            self.columns.setdefault(table, set()).update(plain_name(n) for n in names if n)

    def _add_types(self, text: str) -> None:
        if found := _ADD_VALUE.match(text):
            name = plain_name(found[1])
            self.added_values[name] = (*self.added_values.get(name, ()), found[2])
        elif found := _ENUM.match(text):
            name = plain_name(found[1])
            self.enums[name] = split_at_commas(found[2].strip())
            self.types.add(name)
        elif found := _TYPE.match(text):
            self.types |= {plain_name(name) for name in found.groups() if name}
            for name in filter(None, found.groups()):
                self.enums.pop(plain_name(name), None)
