"""The steps of a tick: plan it, measure a batch without a lock, decide on it and act."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from pydantic import BaseModel
from sqlalchemy import Connection

from tasks import clock
from tasks.ledger import current_run, step, step_logger
from tasks.rollouts.definition.schedule import parse_slot
from tasks.rollouts.reporting.tick_report import warnings_of
from tasks.rollouts.steps.secrets import resolve_secrets
from tasks.rollouts.ticks.found import QUERIES, find_rollouts
from tasks.rollouts.ticks.measuring import MeasuredRollout, measure
from tasks.rollouts.ticks.tick import TickOutcome, tick


class ActiveRollout(BaseModel):
    """A rollout that a tick has to look at."""

    rollout_id: int
    name: str


class TickPlan(BaseModel):
    """The minute, or the slot, that a tick stands for, and the rollouts that it looks at."""

    slot: str
    rollouts: list[ActiveRollout]


@step(key="{slot}")
def plan_tick(tx: Connection, slot: str | None) -> TickPlan:
    """Fix the slot (by default the database clock's minute) and the rollouts that are not ended.

    Each rollout is decided once for the slot of its own that this falls into.
    """
    rows = tx.execute(QUERIES["active_rollouts"]).all()
    now = rows[0].now if rows else clock.now(tx)
    named = parse_slot(now.isoformat() if slot is None else slot, latest=now)
    found = [ActiveRollout(rollout_id=row.rollout_id, name=row.name) for row in rows]
    return TickPlan(slot=named, rollouts=found)


def _of_batch(rollout_ids: Sequence[int]) -> str:
    """A short name of a batch, by its members."""
    if len(rollout_ids) == 1:
        return str(rollout_ids[0])
    digest = hashlib.sha256(" ".join(map(str, rollout_ids)).encode()).hexdigest()
    return f"{len(rollout_ids)}-{digest[:16]}"


@step(key=_of_batch)
def measure_health(tx: Connection, rollout_ids: list[int]) -> list[MeasuredRollout]:
    """Ask the health sources of some rollouts what they measured; locks and changes nothing.

    A source that cannot be read is a finding, not a failure.
    """
    found = find_rollouts(tx, rollout_ids)
    live = (rollout for rollout in found if rollout.state.is_under_way)
    secrets = resolve_secrets(check for rollout in live for check in rollout.policy.checks)
    return measure(tx, found, secrets)


def _of_tick(measured: list[MeasuredRollout], slot: str) -> str:
    return f"{_of_batch([each.rollout_id for each in measured])}:{slot}"


@step(key=_of_tick)
def progress_rollouts(
    tx: Connection, measured: list[MeasuredRollout], slot: str
) -> list[TickOutcome]:
    """Decide on what was measured of some rollouts and act on it: at most one stage up for each.

    Verdicts, a rollback to 0 %, the audit and alerts are committed together. A rollout that was
    changed since it was measured waits for the next tick; in a slot that is decided only harm moves
    it.
    Returned are the checks of what moved or is not healthy; the table ``health_check`` has all.
    """
    outcomes = tick(tx, slot, measured, actor=current_run().actor or "headway")
    return [
        each if each.is_telling else each.model_copy(update={"checks": ()}) for each in outcomes
    ]


def log_moves(outcomes: Iterable[TickOutcome]) -> None:
    """Log what moved, and what is wrong as warnings; once it is committed, and not before."""
    logger = step_logger()
    for outcome in outcomes:
        for warning in warnings_of(outcome):
            logger.warning(warning)
        if outcome.verdict in {"start", "advance", "complete"}:
            logger.info("rollout %s", outcome.summary)
