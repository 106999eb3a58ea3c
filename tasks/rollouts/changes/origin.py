"""What becomes of an experiment's winner: a rollout that runs, a draft, or none. Pure."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tasks.decisions import Verdict, rule
from tasks.errors import Reason


class WinnerRollout(BaseModel):
    """A winner, the rollout that it gets, and what is in the way of its start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiment: str
    winner: str
    model_version: str
    control_version: str | None
    policy: str  # of the experiment: what becomes of its winner
    decision_id: int  # that named the winner
    rollout: str
    obstacles: tuple[Reason, ...] = ()
    is_possible: bool = True


@rule("rollout-of-winner", version=1)
def decide_rollout(evidence: WinnerRollout) -> Verdict:
    """Say "start" where the experiment's policy rolls its winner out, and "draft" where not.

    What is in the way of a start leaves a draft, for a person to start; what is no plan at all
    leaves none.
    """
    details = {"winner": evidence.winner, "rollout": evidence.rollout}
    if not evidence.is_possible:
        return Verdict(verdict="none", reasons=evidence.obstacles, details=details)
    if evidence.policy == "roll_out" and not evidence.obstacles:
        message = f"{evidence.winner} won {evidence.experiment}, whose policy rolls it out"
        return Verdict(verdict="start", reasons=(Reason("policy", message),), details=details)
    message = f"{evidence.winner} won {evidence.experiment}; a person may start its rollout"
    reasons = (Reason("by-hand", message), *evidence.obstacles)
    return Verdict(verdict="draft", reasons=reasons, details=details)
