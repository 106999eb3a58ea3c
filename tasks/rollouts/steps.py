"""The steps of a rollout: each one transaction, each recorded by the ledger."""

from __future__ import annotations

import logging
from datetime import datetime

from pydantic import BaseModel
from sqlalchemy import Connection

from tasks import clock
from tasks.ledger import current_run, step, step_logger
from tasks.rollouts import drafts, manual
from tasks.rollouts.outcome import ManualOutcome
from tasks.rollouts.plan import RolloutPlan
from tasks.rollouts.record import QUERIES
from tasks.rollouts.report import warnings_of
from tasks.rollouts.schedule import parse_slot, slot_of
from tasks.rollouts.tick import TickOutcome, tick
from tasks.rollouts.updating import RolloutUpdate, carry_out


class ActiveRollout(BaseModel):
    """A rollout that a tick has to look at."""

    rollout_id: int
    name: str


class TickPlan(BaseModel):
    """The slot of a tick, and the rollouts that it looks at."""

    slot: str
    rollouts: list[ActiveRollout]


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


@step(key="{slot}")
def plan_tick(tx: Connection, slot: str | None) -> TickPlan:
    """Fix the slot (by default the database clock's hour) and the rollouts that are not ended."""
    now = clock.now(tx)
    named = slot_of(now) if slot is None else parse_slot(slot, latest=now)
    rows = tx.execute(QUERIES["active_rollouts"]).mappings()
    return TickPlan(slot=named, rollouts=[ActiveRollout.model_validate(dict(row)) for row in rows])


@step(key="{rollout_id}:{slot}")
def progress_rollout(tx: Connection, rollout_id: int, slot: str) -> TickOutcome:
    """Check one rollout's health, then advance, complete, hold or roll back: at most one stage.

    A rollback to 0 % is committed with the verdict. A slot that is decided does nothing again.
    """
    outcome = tick(tx, rollout_id, slot, actor=current_run().actor or "headway")
    logger = step_logger()
    for warning in warnings_of(outcome):
        logger.warning(warning)
    if outcome.verdict in {"advance", "complete"}:
        logger.info("rollout %s: %s at %g %%", outcome.name, outcome.verdict, outcome.percentage)
    return outcome


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
    if not outcome.is_noop:
        logger.warning(
            "rollout %s (%s) rolled back from %g %% to 0 %% by %s: %s",
            outcome.name,
            outcome.model_version,
            outcome.old_percentage,
            actor,
            reason,
        )
