"""Finds out what the preflight judges: the session, its rights, and the rows. Reads only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from tasks.database import load_queries
from tasks.migrations import archive, assertions, environments
from tasks.migrations.archive.model import Effect
from tasks.migrations.demands import demands
from tasks.migrations.hazards import emitted
from tasks.migrations.hazards.model import RevisionSql
from tasks.migrations.hazards.sql import UnreadableSql, plain_name
from tasks.migrations.hazards.statements import Statement
from tasks.migrations.plan import Direction
from tasks.migrations.preflight import Extension, PreflightEvidence

QUERIES = load_queries(__package__, "preflight.sql")
_EXTENSION = re.compile(r'create extension (?:if not exists )?("[^"]+"|[\w-]+(?: - \w+)*)')
_CHANGES_TABLE = re.compile(r"alter |create (?:unique )?index|drop table|create trigger")


def gather(
    environment: str,
    revisions: Sequence[str],
    *,
    direction: Direction = "upgrade",
    effects: Iterable[Effect] = (),
    mapped_enum_values: Sequence[str] = (),
) -> PreflightEvidence:
    """What stands in the way of running these revisions (in their order) on an environment.

    ``effects`` are what downgrades take away, as a rehearsal saw it: their enum values are
    counted. ``mapped_enum_values`` (`type.value`) are those that rows will not have any more.
    """
    target = environments.find(environment)
    rendered = [emitted.render(target.project, each, direction) for each in revisions]
    statements = tuple(_statements(rendered))
    with environments.engine(target.url).connect() as connection:
        connection.execute(text("SET TRANSACTION READ ONLY"))
        facts = connection.execute(QUERIES["session_facts"]).one()
        violations, unchecked = assertions.check(connection, demands(rendered))
        removed = [label for effect in effects for label in effect.removed_enum_values]
        return PreflightEvidence(
            environment=environment,
            role=facts.role,
            is_standby=facts.is_standby,
            is_read_only=facts.is_read_only,
            is_pooled=is_pooled(connection.engine),
            has_history=facts.has_history,
            not_owned=_not_owned(connection, statements),
            no_create_in=_no_create_in(connection, statements, facts.default_schema),
            extensions=_extensions(connection, statements),
            violations=violations,
            unchecked=unchecked,
            used_enum_values=archive.enum_usage(connection, removed),
            mapped_enum_values=tuple(mapped_enum_values),
        )


def is_pooled(engine: Engine) -> bool | None:
    """Does a pooler give each transaction a backend of its choice? None: it could not be seen.

    While a second session keeps its backend busy, the first is asked again: through a pooler in
    transaction mode it is served by another one, or the second was given the first one's.
    """
    try:
        with engine.connect() as one, engine.connect() as other:
            first = _pid_and_mark(one)
            second = other.scalar(text("SELECT pg_backend_pid()"))  # its transaction stays open
            pid, mark = one.execute(
                text("SELECT pg_backend_pid(), current_setting('headway.mark', true)")
            ).one()
        return bool(pid != first or second == first or mark != "on")
    except DBAPIError:
        return None


def _pid_and_mark(connection: Connection) -> int:
    connection.execute(text("SELECT set_config('headway.mark', 'on', false)"))
    connection.commit()
    pid = int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
    connection.commit()
    return pid


def _statements(revisions: Iterable[RevisionSql]) -> Iterable[Statement]:
    for revision in revisions:
        for position, each in enumerate(revision.statements, 1):
            statement = Statement(each, position)
            try:
                _ = statement.text
            except UnreadableSql:
                continue
            yield statement


def _not_owned(connection: Connection, statements: Iterable[Statement]) -> dict[str, str]:
    named = {
        table for each in statements if _CHANGES_TABLE.match(each.text) for table in each.tables
    }
    rows = connection.execute(QUERIES["not_owned"], {"names": sorted(named)})
    return {row.name: row.owner for row in rows}


def _no_create_in(
    connection: Connection, statements: Iterable[Statement], default_schema: str | None
) -> tuple[str, ...]:
    schemas = set()
    for each in statements:
        if each.created_table:
            schema, dot, _ = each.created_table.rpartition(".")
            schemas.add(schema.strip('"') if dot else default_schema or "public")
    found = connection.scalars(QUERIES["no_create_in"], {"names": sorted(schemas)})
    return tuple(sorted(found))


def _extensions(connection: Connection, statements: Iterable[Statement]) -> tuple[Extension, ...]:
    names = {
        plain_name(found[1]).strip('"').replace(" - ", "-")
        for each in statements
        if (found := _EXTENSION.match(each.text))
    }
    rows = connection.execute(QUERIES["extensions"], {"names": sorted(names)}).mappings()
    return tuple(Extension(**row) for row in rows)
