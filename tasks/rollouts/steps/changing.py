"""The steps of a rollout: each one transaction, each recorded by the ledger."""

from __future__ import annotations

import logging
from datetime import datetime

from sqlalchemy import Connection

from tasks.ledger import step, step_logger
from tasks.rollouts.changes import drafts, manual
from tasks.rollouts.changes.outcome import ManualOutcome
from tasks.rollouts.changes.updating import RolloutUpdate, carry_out
from tasks.rollouts.definition.plan import RolloutPlan
from tasks.rollouts.definition.state import State


@step(key="{plan.name}")
def create_rollout(tx: Connection, plan: RolloutPlan, actor: str, reason: str) -> ManualOutcome:
    """Write a rollout down as a draft, which nobody sees; the same plan again does nothing."""
    return drafts.create(tx, plan, actor, reason)


@step(key="{plan.name}")
def start_rollout(tx: Connection, plan: RolloutPlan, actor: str, reason: str) -> ManualOutcome:
    """Create a rollout and expose its first stage, now or at its time; once for a plan."""
    return manual.start(tx, plan, actor, reason)


@step(key="{rollout}")
def start_draft(
    tx: Connection, rollout: str, starts_at: datetime | None, actor: str, reason: str
) -> ManualOutcome:
    """Expose the first stage of a draft, now or at its time."""
    return manual.start_draft(tx, rollout, starts_at, actor, reason)


@step(key="{rollout}")
def roll_back_rollout(tx: Connection, rollout: str, actor: str, reason: str) -> ManualOutcome:
    """Take a rollout back to 0 %; whatever its state, and any number of times."""
    outcome = manual.roll_back(tx, rollout, actor, reason)
    _warn_of_rollback(step_logger(), outcome, actor, reason)
    return outcome


@step(key="{rollout}")
def update_rollout(
    tx: Connection, rollout: str, update: RolloutUpdate, actor: str, reason: str
) -> ManualOutcome:
    """Set a rollout's percentage, pause or resume it; edit or delete a draft."""
    return carry_out(tx, rollout, update, actor, reason)


def _warn_of_rollback(
    logger: logging.Logger | logging.LoggerAdapter[logging.Logger],
    outcome: ManualOutcome,
    actor: str,
    reason: str,
) -> None:
    if outcome.is_noop:
        return
    begun = f"rolled back from {outcome.old_percentage:g} % to 0 %"
    done = outcome.done if outcome.old_state is State.SCHEDULED else begun
    named = (outcome.name, outcome.model_version)
    logger.warning("rollout %s (%s) %s by %s: %s", *named, done, actor, reason)
