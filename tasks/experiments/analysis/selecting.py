"""Choose a winner by hand."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.decisions import decide
from tasks.errors import NotFound, Refused
from tasks.experiments.analysis.wishing import keep_wishes
from tasks.experiments.decision.rollout import RolloutWish
from tasks.experiments.decision.selection import SelectionEvidence, judge_selection

QUERIES = load_queries(__package__)


class SelectedWinner(BaseModel):
    """The winner that was chosen; ``is_noop`` where it was chosen before."""

    model_config = ConfigDict(frozen=True)

    experiment: str
    winner: str
    is_forced: bool = False
    is_noop: bool = False
    decision_id: int | None = None

    @property
    def summary(self) -> str:
        """One line."""
        if self.is_noop:
            return f"{self.experiment}: nothing to do; {self.winner} is its winner already"
        forced = ", against the last look" if self.is_forced else ""
        return f"{self.experiment}: {self.winner} is chosen{forced}"


def select(
    tx: Connection, experiment: str, variant: str | None, *, is_forced: bool
) -> SelectedWinner:
    """Complete the experiment with its winner, and record who chose it and why.

    Raises NotFound, and Refused where the last look names no winner, or another one; unless it is
    forced: then what spoke against it is kept with the decision.
    """
    row = tx.execute(QUERIES["lock_selection"], {"name": experiment}).first()
    if row is None:
        raise NotFound(f"no experiment is called {experiment!r}")
    evidence = _evidence(row, experiment, variant, is_forced=is_forced)
    verdict = judge_selection(evidence)
    if verdict.verdict == "refused":
        raise Refused(f"the winner of experiment {experiment}", verdict.reasons)
    winner = verdict.details["winner"]
    if verdict.verdict == "nothing":
        return SelectedWinner(experiment=experiment, winner=winner, is_noop=True)
    decided = decide(tx, judge_selection, evidence, subject=f"experiment:{experiment}")
    version = tx.scalar(QUERIES["select_winner"], {"experiment_id": row.id, "winner": winner})
    if row.policy == "roll_out":
        wish = RolloutWish(
            experiment=experiment, winner=winner, model_version=version, decision_id=decided.id
        )
        keep_wishes(tx, [wish])
    return SelectedWinner(
        experiment=experiment,
        winner=winner,
        is_forced=verdict.details["is_forced"],
        decision_id=decided.id,
    )


def _evidence(
    row: Any, experiment: str, variant: str | None, *, is_forced: bool
) -> SelectionEvidence:
    return SelectionEvidence(
        experiment=experiment,
        status=row.status,
        variants=row.variants,
        requested=variant,
        decided=row.decided,
        decision_id=row.decision_id,
        decided_reasons=row.reasons or (),
        chosen=row.chosen,
        is_forced=is_forced,
    )
