"""Where every environment stands. Reads only; needs no Prefect."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tasks.database import load_queries
from tasks.errors import ConfigurationError, Reason
from tasks.migrations import check, environments, graph, integrity, runner
from tasks.migrations.environments import Target
from tasks.migrations.project import own
from tasks.migrations.revisions import read_scripts

QUERIES = load_queries(__package__)


class EnvironmentStatus(BaseModel):
    """One environment: where it is, what it lacks, whether its schema is as described.

    ``state`` is `current`, `pending`, `drift`, `edited` (an applied file was changed), `unknown`
    (at a revision that no file defines), `broken` (the files contradict each other) or
    `unreachable`. ``drift`` is None where it cannot be told.
    """

    model_config = ConfigDict(frozen=True)

    environment: str
    current_revision: str | None = None
    head: str | None = None
    pending: tuple[str, ...] = ()
    drift: int | None = None
    state: str
    last_run: str | None = None
    problem: str | None = None


def migration_status() -> list[EnvironmentStatus]:
    """The status of every declared environment, in their order."""
    return [_status(name) for name in environments.names()]


def _status(name: str) -> EnvironmentStatus:
    try:
        target = environments.find(name)
        with environments.engine(target.url).connect() as connection:
            return _look(connection, target)
    except (DBAPIError, ConfigurationError) as error:
        problem = str(error.orig if isinstance(error, DBAPIError) else error).partition("\n")[0]
        return EnvironmentStatus(environment=name, head=None, state="unreachable", problem=problem)


def _look(connection: Connection, target: Target) -> EnvironmentStatus:
    scripts, unreadable = read_scripts(target.project)
    current = runner.current_heads(connection, target.project)
    faults = [item.file for item in unreadable] or [r.message for r in graph.faults(scripts)]
    found = EnvironmentStatus(
        environment=target.name,
        current_revision=", ".join(current) or None,
        head=", ".join(script.revision for script in graph.heads(scripts)) or None,
        state="broken",
        last_run=_last_run(connection),
        problem="; ".join(faults) or None,
    )
    if faults:
        return found
    applied = graph.with_ancestors(scripts, current)
    everything = graph.with_ancestors(scripts, (s.revision for s in graph.heads(scripts)))
    pending = tuple(s.revision for s in graph.upward(scripts, everything - applied))
    edited = integrity.edited(scripts, runner.applied_history(connection), applied)
    drift = None if pending or target.project != own() else len(check.drift(connection))
    state, problem = _state(set(current) - applied, edited, pending, drift)
    update = {"pending": pending, "drift": drift, "state": state, "problem": problem}
    return found.model_copy(update=update)


def _state(
    unknown: set[str], edited: Sequence[Reason], pending: Sequence[str], drift: int | None
) -> tuple[str, str | None]:
    if unknown:
        return "unknown", f"no file defines {', '.join(sorted(unknown))}"
    if edited:
        return "edited", "; ".join(reason.message for reason in edited)
    if pending:
        return "pending", None
    return ("drift", f"{drift} differences from tasks/schema.py") if drift else ("current", None)


def _last_run(connection: Connection) -> str | None:
    if not connection.scalar(QUERIES["history_exists"]):
        return None
    row = connection.execute(QUERIES["last_migration"]).first()
    if row is None:
        return None
    return f"{row.direction} {row.revision} {row.finished_at:%Y-%m-%d %H:%M}"
