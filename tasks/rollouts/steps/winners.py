"""The steps from an experiment's winner to its rollout."""

from __future__ import annotations

from sqlalchemy import Connection

from tasks.ledger import current_run, step, step_logger
from tasks.rollouts.changes import lineage
from tasks.rollouts.changes.lineage import WinnerOutcome


@step(key="winners")
def list_winners_to_roll_out(tx: Connection) -> list[str]:
    """List the experiments whose winner a rollout is still to be made of."""
    return [winner.experiment for winner in lineage.pending_winners(tx)]


@step(key="{experiment}")
def roll_out_winner(tx: Connection, experiment: str) -> WinnerOutcome | None:
    """Make the rollout of an experiment's winner, once: a draft, or by its policy a running one."""
    outcome = lineage.roll_out_winner(tx, experiment, current_run().actor or "headway")
    if outcome is not None:
        step_logger().info("%s", outcome.summary)
    return outcome
