"""The steps that keep environments in step, and resolve what is in the way."""

from __future__ import annotations

from sqlalchemy import Connection

from tasks.decisions import decide
from tasks.ledger import effect, step
from tasks.migrations import environments, resolving, scratch
from tasks.migrations.resolving import How, Resolution
from tasks.migrations.sync import plan as sync
from tasks.migrations.sync.plan import SyncPlan
from tasks.migrations.sync.promotion import SyncEvidence, judge_sync


@step(key="{source}")
def plan_environments(
    tx: Connection,
    source: str | None = None,
    targets: tuple[str, ...] = (),
) -> SyncPlan:
    """Put environments beside revisions, and say what each lacks that the source has.

    A revision goes on only to where its predecessor has it with the same content. Each refusal is
    a decision.
    """
    plan = sync.plan_sync(source, targets)
    refused = {each.environment: each.reasons for each in plan.targets if each.verdict == "refused"}
    if plan.reasons:
        refused[plan.source] = plan.reasons
    for name, reasons in refused.items():
        against = SyncEvidence(environment=name, source=plan.source, reasons=reasons)
        decide(tx, judge_sync, against, subject=f"migration:{name}")
    return plan


@step(key="{environment}:{how}")
def resolve_conflict(
    tx: Connection, environment: str, how: How, revisions: tuple[str, ...] = ()
) -> Resolution:
    """Resolve what is in the way: heads, a late revision, a file that is gone, or drift."""
    return effect(
        "resolve",
        {"environment": environment, "how": how, "revisions": revisions},
        act=lambda: resolving.resolve(tx, environment, how, revisions),
        probe=lambda: resolving.find(environment, how, revisions),
        returns=Resolution,
    )


@step(key="{environment}")
def sweep_scratch_databases(
    tx: Connection,  # noqa: ARG001 - elsewhere
    environment: str,
) -> tuple[str, ...]:
    """Drop the scratch databases that dead runs left on the environment's server."""
    return tuple(scratch.sweep(environments.find(environment).url))
