"""What a plan is made of: read from the revision files and from the environment's database."""

from __future__ import annotations

from tasks.migrations import environments, runner
from tasks.migrations.plan import PlanEvidence
from tasks.migrations.revisions import read_scripts


def gather(environment: str) -> PlanEvidence:
    """The facts for an upgrade of the environment to its head; nothing is changed."""
    target = environments.find(environment)
    scripts, unreadable = read_scripts(target.project)
    with environments.engine(target.url).connect() as connection:
        return PlanEvidence(
            environment=environment,
            direction="upgrade",
            scripts=scripts,
            unreadable=unreadable,
            current=runner.current_heads(connection, target.project),
            history=runner.applied_history(connection),
            is_protected=target.is_protected,
        )
