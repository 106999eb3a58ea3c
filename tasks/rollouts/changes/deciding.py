"""Checks that would hold a rollout up for ever: found before it starts."""

from __future__ import annotations

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import Reason
from tasks.rollouts.definition.plan import RolloutPlan
from tasks.rollouts.definition.policy import CheckPolicy
from tasks.rollouts.guard.traffic import can_decide, needs_spread
from tasks.rollouts.health.reading import is_sampled
from tasks.rollouts.health.sources.configuring import configured

QUERIES = load_queries(__package__, "deciding.sql")


def undecidable(tx: Connection, plan: RolloutPlan) -> list[Reason]:
    """Why checks could never come to a verdict: on the stated traffic, or on what is recorded."""
    policy, hours = plan.policy, plan.tick_seconds / 3600
    found = (
        can_decide(check, policy, plan.schedule, plan.requests_per_hour, tick_hours=hours)
        for check in policy.checks
    )
    reasons = [Reason("never-decides", each.message) for each in found if each is not None]
    return reasons + _without_spread(tx, plan)


def _without_spread(tx: Connection, plan: RolloutPlan) -> list[Reason]:
    """The means that evidence is asked for, and whose sums of squares are not there."""
    judged = [check for check in plan.policy.checks if needs_spread(check, plan.policy)]
    recorded = _recorded(tx, plan, [check.name for check in judged if is_sampled(check)])
    lacking = [c.name for c in judged if c.name in recorded or _is_told_without(c)]
    return [
        Reason(
            "never-decides",
            f"{name}: the sequential guard judges a mean by its spread, and its source gives no "
            "sums of squares; record square_sum with each sample, judge by the threshold guard, or "
            "give the check the action warn",
        )
        for name in lacking
    ]


def _recorded(tx: Connection, plan: RolloutPlan, metrics: list[str]) -> set[str]:
    if not metrics:
        return set()
    versions = [plan.model_version, plan.control_version]
    asked = {"metrics": metrics, "versions": [each for each in versions if each is not None]}
    return set(tx.scalars(QUERIES["metrics_without_squares"], asked))


def _is_told_without(check: CheckPolicy) -> bool:
    """Tell whether the source is told where counts stand, but not where sums of squares do."""
    _, config = configured(check)
    is_counted = any(getattr(config, name, None) for name in ("count", "sample_count"))
    return is_counted and getattr(config, "square_sum", None) is None
