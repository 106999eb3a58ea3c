"""Look at every environment at once: what its database says of itself, and what keeps it from it.

Reads only, waits for nobody, and never raises for what it finds: a database that cannot be
reached, a graph that is broken and a history that is missing are findings.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from tasks.database import explain, load_queries
from tasks.errors import ConfigurationError, HeadwayError
from tasks.migrations import environments
from tasks.migrations.drift import accepted, rebuild
from tasks.migrations.drift.expected import recorded
from tasks.migrations.environments import Target
from tasks.migrations.fingerprint import compare
from tasks.migrations.project import own
from tasks.migrations.revision_graph import conflicts
from tasks.migrations.revision_graph.conflicts import Findings
from tasks.migrations.revision_graph.evidence import read_evidence
from tasks.migrations.revision_graph.facts import DatabaseEvidence

QUERIES = load_queries(__package__, "survey.sql")
_VERSION = load_queries("tasks.migrations.revision_graph", "graph.sql")["history_version"]
_AT_ONCE = 8
_CONNECT_SECONDS = 3
# The comparison with the description changes the process's filter of warnings while it runs.
_DESCRIBED_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True, slots=True)
class Executed:
    """What a revision said when it ran in this database, and whether it ran or was adopted."""

    direction: str
    script_checksum: str | None
    sql_checksum: str | None
    renderer: str | None


@dataclass(frozen=True, slots=True)
class LastRun:
    """The newest row of a history."""

    revision: str
    direction: str
    outcome: str
    actor: str | None
    finished_at: datetime
    seconds: float


@dataclass(frozen=True, slots=True)
class Look:
    """What was found in an environment.

    ``evidence`` and ``findings`` are None where the database could not be asked; ``problem`` says
    why. ``drift`` is None where it is not known what to expect.
    """

    environment: str
    order: int = 0
    evidence: DatabaseEvidence | None = None
    findings: Findings | None = None
    executed: Mapping[str, Executed] = field(default_factory=dict)
    drift: tuple[str, ...] | None = None
    information: tuple[str, ...] = ()
    last_run: LastRun | None = None
    is_read_only: bool = False
    is_reached: bool = False
    problem: str | None = None


def survey(names: Sequence[str] | None = None) -> list[Look]:
    """Look at these environments (default: all of them), in the order given."""
    chosen = environments.names() if names is None else tuple(names)
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        return list(pool.map(look, chosen))


def look(name: str) -> Look:
    """Look at one environment."""
    order = 0
    is_reached = False
    try:
        target = environments.find(name)
        order = target.order
        with _reading(target) as connection:
            is_reached = True
            return _look(connection, target)
    except (SQLAlchemyError, HeadwayError, OSError) as error:
        is_reached = is_reached and not isinstance(error, OperationalError)
        return Look(name, order, is_reached=is_reached, problem=_problem(error))


@contextmanager
def _reading(target: Target) -> Iterator[Connection]:
    engine = environments.engine(
        target.url, "headway-status", connect_timeout_seconds=_CONNECT_SECONDS
    )
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with engine.execution_options(**options).connect() as connection:
        connection.execute(QUERIES["begin_survey"])
        yield connection


def _look(connection: Connection, target: Target) -> Look:
    place = connection.execute(QUERIES["place"]).one()
    evidence = read_evidence(connection, target)
    findings = conflicts.find(evidence)
    drift, information, problem = _drift(connection, target, evidence, findings)
    with _optional(connection):
        version = connection.scalar(_VERSION)
        executed = _executed(connection) if version == 2 else {}
        last_run = _last_run(connection, version)
        return Look(
            environment=target.name,
            order=target.order,
            evidence=evidence,
            findings=findings,
            executed=executed,
            drift=drift,
            information=information,
            last_run=last_run,
            is_read_only=place.is_standby or place.is_read_only,
            is_reached=True,
            problem=problem,
        )


def _executed(connection: Connection) -> dict[str, Executed]:
    return {
        row.revision: Executed(row.direction, row.script_checksum, row.sql_checksum, row.renderer)
        for row in connection.execute(QUERIES["executed"])
    }


def _last_run(connection: Connection, version: int | None) -> LastRun | None:
    if not version:
        return None
    name = "last_run" if version == 2 else "last_run_before_contents"
    row = connection.execute(QUERIES[name]).mappings().first()
    return LastRun(**row) if row is not None else None


def _drift(
    connection: Connection, target: Target, evidence: DatabaseEvidence, findings: Findings
) -> tuple[tuple[str, ...] | None, tuple[str, ...], str | None]:
    """What differs from the last fingerprint at these heads; nothing is rebuilt here."""
    try:
        with _optional(connection):
            expected = recorded(connection, evidence.current)
            if expected is None:
                return _described(connection, target, evidence, findings), (), None
            found = compare(expected, rebuild.fingerprint(connection, target.project))
            found, _ = accepted.split(found, accepted.read(connection))
    except (SQLAlchemyError, ValueError) as error:
        return None, (), f"drift is not known: {_problem(error)}"
    drift = tuple(each.text for each in found if not each.is_information)
    return drift, tuple(e.text for e in found if e.is_information), None


def _described(
    connection: Connection, target: Target, evidence: DatabaseEvidence, findings: Findings
) -> tuple[str, ...] | None:
    """Headway's own schema is described at its head, so that needs no record."""
    is_at_head = {s.revision for s in evidence.scripts} <= findings.applied
    if target.project != own() or not is_at_head or findings.is_broken:
        return None
    with _DESCRIBED_ONE_AT_A_TIME:
        from tasks.migrations.validation import (
            check,
        )  # loads Alembic's comparison: for our own only

        return check.drift(connection)


@contextmanager
def _optional(connection: Connection) -> Iterator[None]:
    # What fails in here leaves the rest readable.
    with connection.begin_nested():
        yield


def _problem(error: Exception) -> str:
    if isinstance(error, DBAPIError):
        return explain(error)
    if isinstance(error, (ConfigurationError, HeadwayError)):
        return str(error)
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
