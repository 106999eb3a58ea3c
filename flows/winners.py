"""From experiments to rollouts: what won is rolled out. Other flows call it at their end."""

from __future__ import annotations

from flows.artifacts import publish_table
from flows.batches import failures_of
from tasks.rollouts.changes.lineage import WinnerOutcome
from tasks.rollouts.steps import winners as steps


def roll_out_winners() -> dict[str, str]:
    """Make the rollout of every winner that has none yet; returns what failed, by experiment."""
    experiments = steps.list_winners_to_roll_out()
    made = steps.roll_out_winner.map([{"experiment": each} for each in experiments])
    outcomes = [each for each in made if isinstance(each, WinnerOutcome)]
    if outcomes:
        rows = [{"verdict": each.verdict, "winner": each.summary} for each in outcomes]
        publish_table("rollouts-of-winners", rows)
    return failures_of(dict(zip(experiments, made, strict=True)))
