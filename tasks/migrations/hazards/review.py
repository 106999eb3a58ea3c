"""Everything about a plan's hazards at once, as evidence for the verdict."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import Connection

from tasks.migrations.environments import Target
from tasks.migrations.hazards.context import gather
from tasks.migrations.hazards.decide import Data, decide
from tasks.migrations.hazards.emitted import from_measured, render
from tasks.migrations.hazards.find import find_hazards
from tasks.migrations.hazards.judge import HazardEvidence
from tasks.migrations.hazards.model import Measured, RevisionSql
from tasks.migrations.hazards.reading import Context
from tasks.migrations.project import Project
from tasks.migrations.revision_graph.plan import Direction


def review(
    connection: Connection,
    target: Target,
    revisions: Iterable[str],
    direction: Direction = "upgrade",
    *,
    measured: Sequence[Measured] = (),
    data: Data | None = None,
    approvals: Iterable[str] = (),
    actor: str | None = None,
    mapped: Collection[str] = (),
) -> HazardEvidence:
    """The hazards of the revisions on the target, weighed by what a rehearsal measured.

    ``data`` is what the rehearsed copy held; None without a rehearsal. What the project itself
    approves counts beside ``approvals``, as far as the plan has it. ``mapped`` names values of
    enums that no row will have any more, because a rollback gives them others.

    Raises:
        LookupError: no file defines a revision.
        SquawkFailed: squawk could not be run.
    """
    project = target.project
    plan = [_sql(project, revision, direction, measured) for revision in revisions]
    context = gather(connection, plan, version_table=project.version_table)
    found = find_hazards(plan, _without(context, mapped))
    if data is not None:
        budget = target.max_lock_seconds
        budget_ms = None if budget is None else budget * 1000
        found = decide(found, measured, budget_ms=budget_ms, data=data)
    present = {hazard.approval for hazard in found}
    shipped = tuple(approval for approval in project.approved if approval in present)
    given = tuple(approvals)
    return HazardEvidence(
        environment=target.name,
        hazards=found,
        approvals=tuple(dict.fromkeys((*shipped, *given))),
        actor=actor or ("the project" if shipped and not given else None),
        rehearsed=data,
    )


def _without(context: Context, mapped: Collection[str]) -> Context:
    uses = tuple(
        use
        for use in context.enum_uses
        if not any(f"{name}.{use.label}" in mapped for name in (use.enum, f"public.{use.enum}"))
    )
    return context.model_copy(update={"enum_uses": uses})


def _sql(
    project: Project, revision: str, direction: Direction, measured: Sequence[Measured]
) -> RevisionSql:
    rendered = render(project, revision, direction)
    return rendered if rendered.is_readable else from_measured(rendered, measured)
