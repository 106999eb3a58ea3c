"""Finds out what the preflight judges: the session, its rights, and the rows. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from psycopg.errors import ProtocolViolation
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from tasks.database import load_queries
from tasks.migrations import archive, environments
from tasks.migrations.archive.model import Effect
from tasks.migrations.hazards import emitted
from tasks.migrations.preflight import assertions, granted
from tasks.migrations.preflight.demands import demands
from tasks.migrations.preflight.judge import PreflightEvidence
from tasks.migrations.revision_graph.plan import Direction

QUERIES = load_queries(__package__, "preflight.sql")


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
    with environments.engine(target.url).connect() as connection:
        connection.execute(text("SET TRANSACTION READ ONLY"))
        facts = connection.execute(QUERIES["session_facts"]).one()
        violations, unchecked = assertions.check(connection, demands(rendered))
        removed = [label for effect in effects for label in effect.removed_enum_values]
        if removed:  # counted below, by value, as the rehearsal saw them go
            violations = tuple(v for v in violations if v.code != "enum-value-in-use")
        return PreflightEvidence(
            environment=environment,
            role=facts.role,
            is_standby=facts.is_standby,
            is_read_only=facts.is_read_only,
            is_pooled=is_pooled(connection.engine),
            has_history=facts.has_history,
            missing_rights=granted.missing_rights(connection, target.project, rendered),
            extensions=granted.extensions(connection, rendered),
            violations=violations,
            unchecked=unchecked,
            used_enum_values=archive.enum_usage(connection, removed),
            mapped_enum_values=tuple(mapped_enum_values),
        )


def is_pooled(engine: Engine) -> bool | None:
    """Does a pooler give each transaction a backend of its choice? None: it could not be seen.

    A second session in a transaction keeps its backend busy. Through a pooler in transaction mode
    that is the first session's own, or the first is served by another one from then on.
    """
    try:
        with engine.connect() as one, engine.connect() as other:
            first = _pid_and_mark(one)
            if other.scalar(text("SELECT pg_backend_pid()")) == first:
                return True  # without asking again: there may be no second backend to wait for
            pid, mark = one.execute(
                text("SELECT pg_backend_pid(), current_setting('headway.mark', true)")
            ).one()
        return bool(pid != first or mark != "on")
    except DBAPIError as error:
        if isinstance(error, OperationalError) and not isinstance(error.orig, ProtocolViolation):
            raise  # not reached, or no connection is free: that passes
        return None


def _pid_and_mark(connection: Connection) -> int:
    connection.execute(text("SELECT set_config('headway.mark', 'on', false)"))
    connection.commit()
    pid = int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
    connection.commit()
    return pid
