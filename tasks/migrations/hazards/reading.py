"""What the rules are given: a revision's statements, the plan before it, and the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from pydantic import Field

from tasks.migrations.hazards.model import Frozen, RevisionSql
from tasks.migrations.hazards.sql import NAME, plain_name
from tasks.migrations.hazards.statements import Statement

_ADDED_CONSTRAINT = re.compile(rf"add constraint ({NAME})")
_VALIDATED = re.compile(rf"validate constraint ({NAME})")
_NOT_NULL_CHECK = re.compile(
    rf"add constraint (?P<name>{NAME}) (?:check \( (?:\( )?(?P<checked>{NAME}) is not null \)|"
    rf"not null (?P<required>{NAME}))"
)
_CREATED = re.compile(
    r"create (?:or replace )?(?:unlogged |temp |temporary )?(?:table|function|procedure|aggregate|"
    r"type|domain|view|materialized view|sequence|schema|foreign table) "
    rf"(?:if not exists )?({NAME})"
)
_DROPPED = re.compile(
    r"drop (?:table|view|materialized view|schema|type|domain|sequence|function|procedure|"
    r"routine|extension|aggregate|foreign table|server|owned by) (?:if exists )?(.*)"
)
_CREATED_TYPE = re.compile(rf"create type ({NAME}) as ")


class Column(Frozen):
    """A column of the target. ``has_values`` is None where that was not looked at."""

    type: str
    is_nullable: bool = True
    is_proven_not_null: bool = False
    has_values: bool | None = None


class Table(Frozen):
    """A table of the target. ``size_bytes`` is None where others inherit from it."""

    size_bytes: int | None
    rows: int | None = None
    columns: dict[str, Column] = Field(default_factory=dict)
    primary_key: str | None = None


class Dependent(Frozen):
    """Something (a view, a function) that uses a column, or a whole table (column None)."""

    table: str
    column: str | None
    kind: str
    name: str


class EnumUse(Frozen):
    """A value of an enum that goes, and how many rows of a table have it."""

    enum: str
    label: str
    table: str
    rows: int


class Context(Frozen):
    """What the target's catalogue says; without it (``is_known`` false) nothing is assumed.

    ``is_lock_timeout_armed``: whoever runs the revision sets one before each statement, as
    Headway's runner does. ``is_fresh``: there is no table yet, so nobody uses the database.
    """

    is_known: bool = False
    is_fresh: bool = False
    is_lock_timeout_armed: bool = True
    server_major: int = 17
    tables: dict[str, Table] = Field(default_factory=dict)
    dependents: tuple[Dependent, ...] = ()
    enums: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    enum_uses: tuple[EnumUse, ...] = ()
    are_enum_uses_known: bool = False

    def is_empty(self, table: str) -> bool:
        """True if the table is known to hold no rows."""
        return table in self.tables and self.tables[table].size_bytes == 0

    def column(self, table: str | None, column: str) -> Column | None:
        """What is known of a column."""
        found = self.tables.get(table or "")
        return found.columns.get(column) if found else None


@dataclass(frozen=True)
class Before:
    """What a plan's statements have brought so far.

    Tables, those of them with rows, constraints, types, and objects of any kind; and what is
    ``gone`` by then. ``checks`` say
    that a column is not null (table, constraint, column), ``proven`` are those validated.
    """

    tables: frozenset[str] = frozenset()
    filled: frozenset[str] = frozenset()
    constraints: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    objects: frozenset[str] = frozenset()
    checks: frozenset[tuple[str, str, str]] = frozenset()
    proven: frozenset[tuple[str, str]] = frozenset()
    gone: frozenset[str] = frozenset()

    def after(self, statement: Statement) -> Before:
        """The same with what one more statement brings."""
        tables, filled = self.tables, self.filled
        if statement.created_table and not re.search(r"\bas (?:select|with|\()", statement.text):
            tables |= {statement.created_table}
        if statement.is_filling:
            filled |= set(statement.tables)
        constraints = {
            plain_name(found[1])
            for action in statement.actions
            if (found := _ADDED_CONSTRAINT.match(action))
        }
        created_type = _CREATED_TYPE.match(statement.text)
        types = {plain_name(created_type[1])} if created_type else set()
        created = _CREATED.match(statement.text)
        objects = {plain_name(created[1])} if created else set()
        return Before(
            tables=tables,
            filled=filled,
            constraints=self.constraints | constraints,
            types=self.types | types,
            objects=self.objects | objects | tables,
            checks=self.checks | set(_not_null_checks(statement)),
            proven=self.proven | set(self._validated(statement)),
            gone=self.gone | _dropped(statement),
        )

    def _validated(self, statement: Statement) -> Iterator[tuple[str, str]]:
        for action in statement.bare_actions:
            if found := _VALIDATED.match(action):
                name = plain_name(found[1])
                yield from ((t, c) for t, n, c in self.checks if (t, n) == (statement.table, name))


def _dropped(statement: Statement) -> frozenset[str]:
    found = _DROPPED.match(statement.text)
    names = found[1].split(" , ") if found else ()
    return frozenset(plain_name(name.split(" ")[0]) for name in names)


def _not_null_checks(statement: Statement) -> Iterator[tuple[str, str, str]]:
    for action in statement.bare_actions:
        found = _NOT_NULL_CHECK.match(action)
        if found and statement.table:
            column = plain_name(found["checked"] or found["required"])
            yield statement.table, plain_name(found["name"]), column


@dataclass(frozen=True)
class Reading:
    """A revision for the rules. ``before[position]`` is what the plan has brought by then."""

    revision: RevisionSql
    statements: tuple[Statement, ...]
    context: Context
    before: dict[int, Before] = field(default_factory=dict)

    def with_statements(self, statements: Iterable[Statement]) -> Reading:
        """The same about only some of the statements."""
        return replace(self, statements=tuple(statements))

    def transactions(self) -> list[tuple[Statement, ...]]:
        """The statements of each transaction that has more than one of its own."""
        numbers = dict.fromkeys(s.transaction for s in self.statements if s.transaction is not None)
        return [tuple(s for s in self.statements if s.transaction == n) for n in numbers]

    def is_new(self, table: str, statement: Statement) -> bool:
        """True if this plan creates the table and nothing has filled it: nobody waits for it."""
        before = self.before[statement.position]
        is_created = table in before.tables and table not in before.filled
        return is_created and table not in self.context.tables  # IF NOT EXISTS

    def knows_constraint(self, name: str, statement: Statement) -> bool:
        """True if this plan has added the constraint."""
        return plain_name(name) in self.before[statement.position].constraints


def read(revision: RevisionSql, context: Context, before: Before) -> tuple[Reading, Before]:
    """The revision for the rules, and what the plan has brought after it.

    Raises:
        UnreadableSql: a statement whose words cannot be told apart.
    """
    statements = tuple(
        Statement(emitted, position) for position, emitted in enumerate(revision.statements, 1)
    )
    brought: dict[int, Before] = {}
    for statement in statements:
        brought[statement.position] = before
        before = before.after(statement)
    return Reading(revision, statements, context, brought), before
