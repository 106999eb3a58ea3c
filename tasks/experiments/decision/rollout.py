"""What a winner of policy `roll_out` leaves behind: the wish that it be rolled out."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tasks.decisions import Verdict, rule
from tasks.errors import Reason


class RolloutWish(BaseModel):
    """A winner, and what a rollout of it would roll out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiment: str
    winner: str
    model_version: str | None
    decision_id: int  # that named the winner


@rule("winner-rollout", version=1)
def wish_rollout(evidence: RolloutWish) -> Verdict:
    """Say "roll-out", or "no-version" where the winning arm names nothing to roll out."""
    details = {"winner": evidence.winner, "model_version": evidence.model_version}
    if evidence.model_version is None:
        message = f"{evidence.winner} won, but names no model version that could be rolled out."
        return Verdict(
            verdict="no-version", reasons=(Reason("no-version", message),), details=details
        )
    message = (
        f"{evidence.winner} won {evidence.experiment}; the plan asks to roll out "
        f"{evidence.model_version}."
    )
    return Verdict(verdict="roll-out", reasons=(Reason("policy", message),), details=details)
