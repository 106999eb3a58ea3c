"""One statement as the rules see it: its kind, its tables, its actions, its strong locks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from tasks.migrations.hazards.model import EmittedStatement
from tasks.migrations.hazards.sql import (
    NAME,
    normalise,
    plain_name,
    split_at_commas,
    without_texts,
)

_ALTER_TABLE = re.compile(rf"alter (?:foreign )?table (?:if exists )?(?:only )?({NAME}) (?:\* )?")
_CREATE_TABLE = re.compile(
    r"create (?:(?:global |local )?(?:temp|temporary|unlogged) )?table "
    rf"(?:if not exists )?({NAME})"
)
_INDEX_ON = re.compile(rf"create (?:unique )?index .*?\bon (?:only )?({NAME})")
_TARGETS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"drop table (?:if exists )?(?P<list>{NAME}(?: , {NAME})*)",
        rf"truncate (?:table )?(?:only )?(?P<list>{NAME}(?: , {NAME})*)",
        rf"lock (?:table )?(?:only )?(?P<list>{NAME}(?: , {NAME})*)",
        rf"update (?:only )?(?P<list>{NAME})",
        rf"delete from (?:only )?(?P<list>{NAME})",  # noqa: S608
        rf"(?:insert into|merge into|copy) (?P<list>{NAME})",
        rf"vacuum (?:\( [^)]*\) |full |freeze |verbose |analyze )*(?P<list>{NAME})",
        rf"cluster (?:verbose )?(?P<list>{NAME})",
        (
            r"(?:create|drop|alter) (?:or replace )?(?:constraint )?(?:trigger|policy|rule) .*?"
            rf"\bon (?P<list>{NAME})"
        ),
        rf"reindex (?:\( [^)]*\) )?table (?:concurrently )?(?P<list>{NAME})",
        rf"(?:grant|revoke) [^;]*? on (?:table )?(?P<list>{NAME}(?: , {NAME})*) (?:to|from) ",
        rf"create materialized view (?:if not exists )?(?P<list>{NAME})",
    )
)
# An action that adds a column, not one of the constraints that are added alike.
ADD_COLUMN = (
    r"add (?!constraint\b|primary key\b|foreign key\b|unique\b|check\b|exclude\b|not null\b)"
    rf"(?:column )?(?:if not exists )?(?P<column>{NAME}) (?P<rest>.+)"
)
# These take a lock under which others may read and write.
_WEAK_ACTION = re.compile(
    r"validate constraint|detach partition .* (?:concurrently|finalize)|attach partition|"
    r"alter (?:column )?\S+ set statistics|set \( |reset \( |cluster on|set without cluster"
)
_STRONG = re.compile(
    r"drop table|truncate|lock|vacuum \( .*\bfull\b|vacuum full|cluster|"
    r"create (?:unique )?index(?! concurrently)|drop index(?! concurrently)|"
    r"reindex(?!.*\bconcurrently\b)|(?:create|drop|alter) (?:or replace )?(?:constraint )?"
    r"(?:trigger|policy|rule)"
)


@dataclass(frozen=True)
class Statement:
    """An emitted statement and its place (from 1) in the revision."""

    emitted: EmittedStatement
    position: int

    @property
    def sql(self) -> str:
        """The statement as it is sent."""
        return self.emitted.sql

    @property
    def transaction(self) -> int | None:
        """The transaction that it is part of; None if it is one of its own."""
        return self.emitted.transaction

    @cached_property
    def text(self) -> str:
        """Its normal form."""
        return normalise(self.sql)

    @cached_property
    def created_table(self) -> str | None:
        """The table that it creates."""
        found = _CREATE_TABLE.match(self.text)
        return plain_name(found[1]) if found else None

    @cached_property
    def table(self) -> str | None:
        """The table that it alters, or builds an index on."""
        found = _ALTER_TABLE.match(self.text) or _INDEX_ON.match(self.text)
        return plain_name(found[1]) if found else None

    @cached_property
    def tables(self) -> tuple[str, ...]:
        """The tables that it is about."""
        if self.created_table or self.table:
            return tuple(filter(None, (self.created_table, self.table)))
        for pattern in _TARGETS:
            if found := pattern.match(self.text):
                return tuple(plain_name(name) for name in found["list"].split(" , "))
        return ()

    @cached_property
    def actions(self) -> tuple[str, ...]:
        """What an ALTER TABLE does, one by one."""
        found = _ALTER_TABLE.match(self.text)
        return split_at_commas(self.text[found.end() :]) if found else ()

    @cached_property
    def bare_actions(self) -> tuple[str, ...]:
        """The same with the texts in them left empty."""
        return tuple(without_texts(action) for action in self.actions)

    @property
    def is_writing(self) -> bool:
        """True if it changes rows that are there."""
        return bool(re.match(r"(?:with .*[()] )?(?:update|delete from|merge into) ", self.text))

    @property
    def is_filling(self) -> bool:
        """True if it adds rows, and who knows how many."""
        return bool(re.match(r"copy .* from |insert into .*?\bselect\b", self.text))

    @cached_property
    def takes_strong_lock(self) -> bool:
        """True if others cannot write to the table (or not even read it) until the commit."""
        if self.actions:
            return not all(_WEAK_ACTION.match(action) for action in self.actions)
        return bool(_STRONG.match(self.text))


def matching(
    statements: tuple[Statement, ...], pattern: str
) -> Iterator[tuple[Statement, re.Match[str]]]:
    """The statements whose normal form begins with the pattern."""
    for statement in statements:
        if found := re.match(pattern, statement.text):
            yield statement, found


def actions_matching(
    statements: tuple[Statement, ...], pattern: str
) -> Iterator[tuple[Statement, re.Match[str]]]:
    """The actions of ALTER TABLE statements that begin with the pattern."""
    for statement in statements:
        for action in statement.bare_actions:
            if found := re.match(pattern, action):
                yield statement, found
