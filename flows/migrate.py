"""Move the schema up, and back."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flows.artifacts import publish_report
from flows.pipeline import Text, pipeline
from flows.planning import Wishes, prepare
from tasks.migrations import steps as migrations
from tasks.migrations.applying.moves import Moved
from tasks.migrations.archive import mapped_values
from tasks.migrations.plans.prepared import MigrationPlan, Planned
from tasks.migrations.report import MigrationResult
from tasks.migrations.validation.validating import Validated


@pipeline(name="plan-migrations", run_name="plan-migrations/{environment}")
def plan_migrations(
    actor: Text,  # noqa: ARG001 - the run keeps it, and who approved
    environment: Text = "local",
    target: Text = "head",
    approve: tuple[Text, ...] = (),
    rehearse: bool = True,
    run_spliced: bool = False,
) -> MigrationPlan:
    """Find out what migrating would do to a database, without touching it, and keep the plan.

    Judges the revision files, the schema as it is, the rights of the user, the rows that would
    break a constraint, and every statement. Then it rehearses: on a copy of the database the
    revisions go up, down and up again, and locks, rewrites and scans are measured. The plan has a
    hash; given to apply-migrations, exactly this plan is run, or refused as stale.

    Args:
        actor: Who asks; hazards are approved in this name.
        environment: Name of the environment, as declared in headway.toml.
        target: Revision to go up to; `head` is the newest.
        approve: Hazards that were looked at and may be, as `code@revision`.
        rehearse: Try it out on a copy first.
        run_spliced: Run also revisions that were put below what is applied already.
    """
    planned = migrations.plan_migrations(
        environment=environment, target=target, run_spliced=run_spliced
    )
    plan = prepare(planned, Wishes(approve=approve, rehearse=rehearse))
    plan.require_not_refused()
    return plan


@pipeline(name="apply-migrations", run_name="apply-migrations/{environment}")
def apply_migrations(
    actor: Text,  # noqa: ARG001 - the run keeps it
    reason: Text,  # noqa: ARG001 - the run keeps it
    environment: Text = "local",
    target: Text = "head",
    plan: str | None = None,
    approve: tuple[Text, ...] = (),
    rehearse: bool = True,
    run_spliced: bool = False,
    terminate_orphans: bool = False,
    is_promotion: bool = False,
) -> MigrationResult:
    """Bring a database's schema to the newest revision, one revision at a time.

    First it plans, as plan-migrations does: refused, before anything is changed, if the revision
    files contradict each other or were edited after they were applied, if the schema has drifted,
    if rows would break a constraint, if a statement is a hazard that nobody approved, or if the
    rehearsal on a copy fails or blocks tables for too long. Then each revision is a step of its
    own: its DDL and its history row commit together, it waits for locks only briefly and is then
    tried again, and a run that dies resumes after the last one that was applied. At the end the
    schema is compared with what was rehearsed; if it is not that, the revisions are rolled back
    where the rehearsal proved that nothing is lost. A second run finds nothing to do.

    Args:
        actor: Who does this; it is kept in the history.
        reason: Why; it is kept in the history.
        environment: Name of the environment, as declared in headway.toml; `local` is the control
            database.
        target: Revision to go up to; `head` is the newest.
        plan: Hash of a plan that was made before: run exactly that.
        approve: Hazards that were looked at and may be, as `code@revision`.
        rehearse: Try it out on a copy first.
        run_spliced: Run also revisions that were put below what is applied already.
        terminate_orphans: End sessions that a dead run left behind, instead of waiting for them.
        is_promotion: Refuse also what would give another schema than the environments before have.
    """
    planned = migrations.plan_migrations(
        environment=environment, target=target, run_spliced=run_spliced
    )
    wishes = Wishes(approve=approve, rehearse=rehearse, saved=plan, is_promotion=is_promotion)
    made = prepare(planned, wishes)
    made.require_not_refused()
    if planned.cosmetic:
        migrations.accept_reformatting(environment=environment, revisions=planned.cosmetic)
    moved = [
        migrations.apply_revision(
            environment=environment,
            revision=each.revision,
            predicted_lock_ms=made.lock_ms(each.revision),
            terminate_orphans=terminate_orphans,
        )
        for each in made.revisions
    ]
    validated = _validate(made, moved)
    moved += [_roll_back(made, revision, {}) for revision in validated.undo]
    result = _reported(made, moved, validated)
    validated.require_kept()
    return result


@pipeline(name="roll-back-migrations", run_name="roll-back-migrations/{environment}")
def roll_back_migrations(
    actor: Text,  # noqa: ARG001 - the run keeps it
    reason: Text,  # noqa: ARG001 - the run keeps it
    environment: Text = "local",
    steps: Annotated[int, Field(ge=1)] = 1,
    to: str | None = None,
    approve: tuple[Text, ...] = (),
    rehearse: bool = True,
    map_values: tuple[Text, ...] = (),
    use_stored: bool = False,
    confirm: str | None = None,
) -> MigrationResult:
    """Undo the last applied revisions, the newest first, without losing a row.

    A rehearsal on a copy shows what each downgrade takes away. That is copied to schema
    `headway_archive`, and brought up to date in the transaction of the downgrade. When the
    revision is applied again, rows and values come back; what was added, changed or deleted in
    between is reported and left alone.

    Args:
        actor: Who does this; it is kept in the history.
        reason: Why; it is kept in the history.
        environment: Name of the environment, as declared in headway.toml.
        steps: How many revisions; it does not count where `to` is given.
        to: Go down to this revision, which stays; `base` undoes everything.
        approve: Hazards that were looked at and may be, as `code@revision`.
        rehearse: Try it out with the rows of the copy; else only the schema is copied, which is
            quick, to see what is taken away.
        map_values: What rows get instead of an enum value that goes, as `type.value=other`.
        use_stored: Go by the history's copy of a revision whose file is gone.
        confirm: The environment's name once more, where the environment is protected.
    """
    mapped = mapped_values.parse(map_values)
    planned = migrations.plan_rollback(
        environment=environment, steps=steps, to=to, confirm=confirm, use_stored=use_stored
    )
    return _undo(planned, Wishes(approve=approve, rehearse=rehearse, mapped=mapped))


@pipeline(name="reset-migrations", run_name="reset-migrations/{environment}")
def reset_migrations(
    actor: Text,  # noqa: ARG001 - the run keeps it
    reason: Text,  # noqa: ARG001 - the run keeps it
    confirm: Text,
    environment: Text = "local",
    approve: tuple[Text, ...] = (),
    rehearse: bool = True,
) -> MigrationResult:
    """Undo every revision; the rows of all tables are archived first.

    Refused where the environment forbids it (protected ones do unless they say otherwise), or if
    its name is not given once more.

    Args:
        actor: Who does this; it is kept in the history.
        reason: Why; it is kept in the history.
        confirm: The environment's name once more.
        environment: Name of the environment, as declared in headway.toml.
        approve: Hazards that were looked at and may be, as `code@revision`.
        rehearse: Try it out with the rows of the copy; else only the schema is copied.
    """
    planned = migrations.plan_rollback(
        environment=environment, to="base", confirm=confirm, is_reset=True
    )
    return _undo(planned, Wishes(approve=approve, rehearse=rehearse), archives_all=True)


def _undo(planned: Planned, wishes: Wishes, *, archives_all: bool = False) -> MigrationResult:
    made = prepare(planned, wishes)
    made.require_not_refused()
    if archives_all and made.revisions:
        migrations.archive_database(environment=made.environment)
    moved = [_roll_back(made, each.revision, wishes.mapped) for each in made.revisions]
    return _reported(made, moved, _validate(made, moved))


def _roll_back(made: MigrationPlan, revision: str, mapped: dict[str, str]) -> Moved:
    return migrations.roll_back_revision(
        environment=made.environment,
        revision=revision,
        taken=made.taken_by_downgrade(revision),
        mapped=mapped,
        stored_only=made.stored_only,
    )


def _validate(made: MigrationPlan, moved: list[Moved]) -> Validated:
    return migrations.validate_schema(
        environment=made.environment,
        after=f"plan {made.decision_id}",
        before=made.current,
        moved=tuple(moved),
        rehearsal=made.rehearsal,
    )


def _reported(made: MigrationPlan, moved: list[Moved], validated: Validated) -> MigrationResult:
    result = MigrationResult(
        environment=made.environment,
        direction=made.direction,
        decision_id=made.decision_id,
        verdict=made.verdict,
        moved=tuple(moved),
        check=validated.check,
    )
    publish_report(f"migration-{made.environment}", result.as_markdown(), result.summary)
    return result
