"""Keep environments in step, and their schemas as their revisions made them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from flows.artifacts import publish_report, publish_table
from flows.migrate import apply_migrations
from flows.pipeline import Text, pipeline, run_within
from tasks.errors import Refused
from tasks.migrations import environments as declared
from tasks.migrations import steps
from tasks.migrations.plans.prepared import DriftFound
from tasks.migrations.report import MigrationResult
from tasks.migrations.resolving import Resolution
from tasks.migrations.sync.matrix_report import sync_markdown
from tasks.migrations.sync.plan import SyncPlan


class SyncResult(BaseModel):
    """What was planned, and what was migrated."""

    model_config = ConfigDict(frozen=True)

    plan: SyncPlan
    migrated: tuple[MigrationResult, ...] = ()

    @property
    def summary(self) -> str:
        """One line for each environment."""
        lines = [result.summary for result in self.migrated]
        return "\n".join(lines) or f"every environment is where {self.plan.source} is"

    def as_markdown(self) -> str:
        """Environments beside revisions, as they were found."""
        return sync_markdown(self.plan)


@pipeline(name="sync-environments")
def sync_environments(
    actor: Text,
    reason: Text,
    source: str | None = None,
    targets: tuple[Text, ...] = (),
    approve: tuple[Text, ...] = (),
    rehearse: bool = True,
) -> SyncResult:
    """Bring environments to the revision of an earlier one, each after the one before it.

    A revision goes on only to where its predecessor has it, with the same content and the same
    schema. Each environment is migrated as apply-migrations does it; one that is refused stops
    those after it. The report shows environments beside revisions.

    Args:
        actor: Who does this; it is kept in the history.
        reason: Why; it is kept in the history.
        source: Environment to follow; by default the first in order.
        targets: Environments to bring there; by default all after it.
        approve: Hazards that were looked at and may be, as `code@revision`.
        rehearse: Try each migration out on a copy of its environment first.
    """
    plan = steps.plan_environments(source=source, targets=targets)
    publish_report("environments", sync_markdown(plan), f"environments after {plan.source}")
    migrated = []
    for target in plan.targets:
        if target.verdict == "nothing-to-do":
            continue
        if target.verdict != "allowed":
            break
        asked = {
            "actor": actor,
            "reason": reason,
            "environment": target.environment,
            "target": ",".join(plan.goals),
            "approve": approve,
            "rehearse": rehearse,
            "is_promotion": True,
        }
        migrated.append(run_within(apply_migrations, asked))
    reasons = (*plan.reasons, *(each for target in plan.targets for each in target.reasons))
    if plan.verdict == "refused":
        raise Refused(f"synchronisation with {plan.source}", reasons)
    return SyncResult(plan=plan, migrated=tuple(migrated))


class SchemaLook(BaseModel):
    """How the schema of one environment was found."""

    model_config = ConfigDict(frozen=True)

    environment: str
    found: DriftFound
    swept: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """One line."""
        differences = [reason.message for reason in self.found.reasons]
        notes = [f"only information: {text}" for text in self.found.information]
        return f"{self.environment}: {'; '.join([*differences, *notes]) or 'as it should be'}"


@pipeline(name="check-schema")
def check_schema(environments: tuple[Text, ...] = ()) -> list[SchemaLook]:
    """Compare every database's schema with what its own revisions made of it.

    Drift is named by object and attribute, with the ways to adopt, revert or accept it, and the
    run ends as Refused. Another order of columns is information only. Scratch databases that dead
    runs left behind are dropped.

    Args:
        environments: Names of the environments to look at; by default all.
    """
    looks = [
        SchemaLook(
            environment=name,
            found=steps.check_drift(environment=name),
            swept=steps.sweep_scratch_databases(environment=name),
        )
        for name in environments or declared.names()
    ]
    rows = [
        {"environment": look.environment, "verdict": look.found.verdict, "found": look.summary}
        for look in looks
    ]
    publish_table("schema-drift", rows, "drift of every environment")
    drifted = [look for look in looks if look.found.is_refusal]
    if drifted:
        reasons = [reason for look in drifted for reason in look.found.reasons]
        raise Refused(f"the schema of {', '.join(look.environment for look in drifted)}", reasons)
    return looks


@pipeline(name="resolve-conflicts")
def resolve_conflicts(
    actor: Text,  # noqa: ARG001 - the run keeps it
    reason: Text,  # noqa: ARG001 - the run keeps it
    how: Literal["merge", "reparent", "restore", "adopt", "revert", "accept"],
    environment: Text = "local",
    revisions: tuple[Text, ...] = (),
) -> Resolution:
    """Resolve two heads, a revision that came late, a file that is gone, or drift.

    `merge` runs the heads in every order on scratch databases and writes a merge revision if the
    schemas come out equal; else it names the object. `reparent` puts a revision that lies below
    the head on top of it. `restore` writes a revision's file as it was when it was applied.
    `adopt` writes what drifted down as a revision, proven on a scratch database; `revert` takes it
    back in one transaction, if the schema is then as expected; `accept` keeps it as it is and does
    not report it again. Files are written where this run's worker has its checkout.

    Args:
        actor: Who does this; it is kept in the history.
        reason: Why; it is kept in the history.
        how: What to do.
        environment: Name of the environment, as declared in headway.toml.
        revisions: The heads to merge (by default all), or the one revision.
    """
    resolution = steps.resolve_conflict(environment=environment, how=how, revisions=revisions)
    resolution.require_not_refused()
    publish_report(f"resolution-{environment}", resolution.as_markdown(), resolution.summary)
    return resolution
