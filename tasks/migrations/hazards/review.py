"""Everything about a plan's hazards at once, as evidence for the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection

from tasks.migrations.hazards.context import gather
from tasks.migrations.hazards.decide import Data, decide
from tasks.migrations.hazards.emitted import from_measured, render
from tasks.migrations.hazards.find import find_hazards
from tasks.migrations.hazards.judge import HazardEvidence
from tasks.migrations.hazards.model import Measured, RevisionSql
from tasks.migrations.plan import Direction
from tasks.migrations.project import Project


def review(
    connection: Connection,
    project: Project,
    environment: str,
    revisions: Iterable[str],
    direction: Direction = "upgrade",
    *,
    measured: Sequence[Measured] = (),
    data: Data | None = None,
    budget_ms: float | None = None,
    approvals: Iterable[str] = (),
    actor: str | None = None,
) -> HazardEvidence:
    """The hazards of the revisions on the target, weighed by what a rehearsal measured.

    ``data`` is what the rehearsed copy held; None without a rehearsal. ``budget_ms`` is how long
    the environment lets a table be locked.

    Raises:
        LookupError: no file defines a revision.
        SquawkFailed: squawk could not be run.
    """
    plan = [_sql(project, revision, direction, measured) for revision in revisions]
    found = find_hazards(plan, gather(connection, plan, version_table=project.version_table))
    if data is not None:
        found = decide(found, measured, budget_ms=budget_ms, data=data)
    return HazardEvidence(
        environment=environment,
        hazards=found,
        approvals=tuple(approvals),
        actor=actor,
        rehearsed=data,
    )


def _sql(
    project: Project, revision: str, direction: Direction, measured: Sequence[Measured]
) -> RevisionSql:
    rendered = render(project, revision, direction)
    return rendered if rendered.is_readable else from_measured(rendered, measured)
