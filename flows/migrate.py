"""Move the schema up, and back."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flows.artifacts import publish_report
from flows.pipeline import Text, pipeline
from tasks.migrations.moves import Moved
from tasks.migrations.report import MigrationResult
from tasks.migrations.steps import (
    Planned,
    apply_revision,
    plan_migrations,
    plan_rollback,
    roll_back_revision,
    validate_schema,
)


@pipeline(name="apply-migrations", run_name="apply-migrations/{environment}")
def apply_migrations(
    actor: Text,  # noqa: ARG001 - the run keeps it
    reason: Text,  # noqa: ARG001 - the run keeps it
    environment: Text = "local",
    target: Text = "head",
) -> MigrationResult:
    """Bring a database's schema to the newest revision, one revision at a time.

    Each revision is a step of its own: its DDL and its history row commit together, it waits for
    locks only briefly and is then tried again, and a run that dies resumes after the last one that
    was applied. A second run finds nothing to do. Refused, before anything is changed, if the
    revision files contradict each other or were edited after they were applied, or if the
    database is at a revision that no file defines. At the end the schema is compared with its
    description.

    Args:
        actor: Who does this; it is kept in the history.
        reason: Why; it is kept in the history.
        environment: Name of the environment, as declared in headway.toml; `local` is the control
            database.
        target: Revision to go up to; `head` is the newest.
    """
    plan = plan_migrations(environment=environment, target=target)
    plan.require_not_refused()
    moved = [
        apply_revision(environment=environment, revision=planned.revision)
        for planned in plan.revisions
    ]
    return _reported(plan, moved)


@pipeline(name="roll-back-migrations", run_name="roll-back-migrations/{environment}/{steps}")
def roll_back_migrations(
    actor: Text,  # noqa: ARG001 - the run keeps it
    reason: Text,  # noqa: ARG001 - the run keeps it
    steps: Annotated[int, Field(ge=1)] = 1,
    environment: Text = "local",
    allow_data_loss: bool = False,
    confirm: str | None = None,
) -> MigrationResult:
    """Undo the last applied revisions, the newest first.

    Every revision is first tried out behind a savepoint. If that would drop tables or columns
    with rows in them, it is refused and the rows are counted, unless the loss is allowed. One that
    commits while it runs (CONCURRENTLY) cannot be tried out, so it needs that permission too.

    Args:
        actor: Who does this; it is kept in the history.
        reason: Why; it is kept in the history.
        steps: How many revisions.
        environment: Name of the environment, as declared in headway.toml.
        allow_data_loss: Undo also what drops rows, or may.
        confirm: The environment's name once more, where the environment is protected.
    """
    plan = plan_rollback(environment=environment, steps=steps, confirm=confirm)
    plan.require_not_refused()
    moved: list[Moved] = []
    for planned in plan.revisions:
        moved.append(
            roll_back_revision(
                environment=environment,
                revision=planned.revision,
                allow_data_loss=allow_data_loss,
            )
        )
        moved[-1].require_not_refused()
    return _reported(plan, moved)


def _reported(plan: Planned, moved: list[Moved]) -> MigrationResult:
    check = validate_schema(environment=plan.environment, after=f"plan {plan.decision_id}")
    result = MigrationResult(
        environment=plan.environment,
        direction=plan.direction,
        decision_id=plan.decision_id,
        verdict=plan.verdict,
        moved=tuple(moved),
        check=check,
    )
    publish_report(f"migration-{plan.environment}", result.as_markdown(), result.summary)
    return result
