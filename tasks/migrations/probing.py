"""Finds out what the preflight judges: the session, its rights, and the rows. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from tasks.database import load_queries
from tasks.migrations import archive, assertions, environments, granted
from tasks.migrations.archive.model import Effect
from tasks.migrations.demands import demands
from tasks.migrations.hazards import emitted
from tasks.migrations.plan import Direction
from tasks.migrations.preflight import PreflightEvidence

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
    except OperationalError:  # not reached at all, or no more connections: try again later
        raise
    except DBAPIError:
        return None


def _pid_and_mark(connection: Connection) -> int:
    connection.execute(text("SELECT set_config('headway.mark', 'on', false)"))
    connection.commit()
    pid = int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
    connection.commit()
    return pid
