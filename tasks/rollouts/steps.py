"""The steps of a rollout: each one transaction, each recorded by the ledger."""

from __future__ import annotations

import logging

from pydantic import BaseModel
from sqlalchemy import Connection

from tasks import clock
from tasks.ledger import current_run, step, step_logger
from tasks.rollouts import manual
from tasks.rollouts.outcome import ManualOutcome
from tasks.rollouts.plan import RolloutPlan
from tasks.rollouts.record import QUERIES
from tasks.rollouts.report import warnings_of
from tasks.rollouts.schedule import parse_slot, slot_of
from tasks.rollouts.tick import TickOutcome, tick


class ActiveRollout(BaseModel):
    """A rollout that a tick has to look at."""

    rollout_id: int
    name: str


class TickPlan(BaseModel):
    """The slot of a tick, and the rollouts that it looks at."""

    slot: str
    rollouts: list[ActiveRollout]


@step(key="{plan.name}")
def start_rollout(tx: Connection, plan: RolloutPlan, actor: str, reason: str) -> ManualOutcome:
    """Create a rollout and expose its first stage; a plan that is started already stays so."""
    return manual.start(tx, plan, actor, reason)


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
def pause_rollout(tx: Connection, rollout: str, actor: str, reason: str) -> ManualOutcome:
    """Stop a rollout's clock; its health is still guarded."""
    return manual.pause(tx, rollout, actor, reason)


@step(key="{rollout}")
def resume_rollout(tx: Connection, rollout: str, actor: str, reason: str) -> ManualOutcome:
    """Let a paused or hand-set rollout go on with its schedule."""
    return manual.resume(tx, rollout, actor, reason)


@step(key="{rollout}")
def set_rollout_percentage(
    tx: Connection, rollout: str, percentage: float, actor: str, reason: str
) -> ManualOutcome:
    """Set a rollout's percentage by hand and hold it there."""
    return manual.set_percentage(tx, rollout, percentage, actor, reason)


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
