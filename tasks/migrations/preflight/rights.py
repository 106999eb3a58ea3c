"""What the statements of pending revisions ask of the role that runs them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.migrations.hazards.model import RevisionSql
from tasks.migrations.hazards.sql import NAME, UnreadableSql, plain_name, shorten
from tasks.migrations.hazards.statements import Statement

Kind = Literal[
    "relation", "type", "schema", "create", "usage", "database", "privilege", "extension"
]
_OWNED = re.compile(
    rf"(?:(?:alter|drop) (?P<kind>(?:foreign )?table|index|sequence|view|materialized view|type|"
    rf"domain|schema)|comment on (?P<commented>table|index|sequence|view|type|schema)|"
    rf"create (?:unique )?index .*?\bon|create policy {NAME} on|refresh materialized view)"
    rf"(?: concurrently)?(?: if exists)?(?: only)? (?P<names>{NAME}(?: , {NAME})*)"
)
_CREATED = re.compile(
    r"create (?:or replace )?(?:unlogged |foreign )?(?:recursive )?"
    r"(?:table|view|materialized view|sequence|type|domain|function|procedure|aggregate) "
    rf"(?:if not exists )?(?P<name>{NAME})"
)
_NEW_SCHEMA = re.compile(rf"create schema (?:if not exists )?(?P<name>{NAME})")
_WRITTEN = re.compile(
    rf"(?P<insert>insert) into (?P<filled>{NAME})|(?P<update>update) (?:only )?(?P<updated>{NAME})|"
    rf"(?P<delete>delete) from (?:only )?(?P<deleted>{NAME})|"
    rf"(?P<truncate>truncate) (?:table )?(?:only )?(?P<truncated>{NAME})"
)
_REFERENCED = re.compile(rf"foreign key \( [^()]+ \) references ({NAME})")
_EXTENSION = re.compile(
    r'create extension (?P<is_lenient>if not exists )?(?P<name>"[^"]+"|[\w-]+(?: - \w+)*)'
)
_KINDS: dict[str, Kind] = {"type": "type", "domain": "type", "schema": "schema"}
_OTHER_ROLE = re.compile(r"set (?:local |session )?(?:role|session authorization)\b")


@dataclass(frozen=True, slots=True)
class Need:
    """Something that the role must own, or may do, for a statement.

    ``right`` is a privilege on the relation ``name``, or DROP, which a schema's owner may too. An
    empty name of a schema to create in is the default one.
    """

    kind: Kind
    name: str
    revision: str
    statement: str
    right: str = ""


def needs(revisions: Sequence[RevisionSql]) -> Iterator[Need]:
    """What the statements need of the role, up to the first that takes on another role."""
    for revision in revisions:
        for position, emitted in enumerate(revision.statements, 1):
            statement = Statement(emitted, position)
            try:
                text = statement.text
            except UnreadableSql:
                continue
            if _OTHER_ROLE.match(text):
                return
            written = shorten(statement.sql)
            for kind, name, right in _of_statement(statement):
                yield Need(kind, name, revision.revision, written, right)


def _of_statement(statement: Statement) -> Iterator[tuple[Kind, str, str]]:
    text = statement.text
    if found := _OWNED.match(text):
        what = found["kind"] or found["commented"] or "table"
        kind = _KINDS.get(what, "relation")
        for name in found["names"].split(" , "):
            yield kind, plain_name(name), "DROP" if text.startswith("drop ") else ""
    if found := _CREATED.match(text):
        yield "create", found["name"].rpartition(".")[0].strip('"'), ""
    if found := _NEW_SCHEMA.match(text):
        yield "database", plain_name(found["name"]), ""
    if found := _EXTENSION.match(text):
        yield "extension", found["name"].strip('"').replace(" - ", "-"), ""
    if found := _WRITTEN.match(text):
        right, name = (each for each in found.groups() if each)
        yield "privilege", plain_name(name), right.upper()
    for action in statement.actions:
        if found := _REFERENCED.search(action):
            yield "privilege", plain_name(found[1]), "REFERENCES"
