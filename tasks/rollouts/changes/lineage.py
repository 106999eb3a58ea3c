"""From an experiment's winner to its rollout: once for each winner, whatever becomes of it."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.decisions import Decided, decide
from tasks.errors import Reason, Refused
from tasks.misfits import problems
from tasks.rollouts.changes import drafts, manual
from tasks.rollouts.changes.origin import WinnerRollout, decide_rollout
from tasks.rollouts.changes.outcome import ManualOutcome
from tasks.rollouts.definition.plan import RolloutPlan

QUERIES = load_queries(__package__, "lineage.sql")
_LONGEST_NAME = 200


class Winner(BaseModel):
    """An experiment's winner that nothing became of yet."""

    model_config = ConfigDict(frozen=True)

    experiment: str
    experiment_id: UUID
    winner: str
    model_version: str
    control_version: str | None
    policy: str
    organization: str | None
    decision_id: int


class WinnerOutcome(BaseModel):
    """What became of a winner; ``rollout`` is None where nothing could."""

    model_config = ConfigDict(frozen=True)

    experiment: str
    winner: str
    verdict: str
    reasons: tuple[Reason, ...]
    rollout: ManualOutcome | None = None

    @property
    def summary(self) -> str:
        """One line."""
        made = self.rollout.summary if self.rollout else "no rollout"
        why = "; ".join(reason.message for reason in self.reasons)
        return f"{self.experiment}, {self.winner}: {made} ({why})"


class _Made(NamedTuple):
    rollout: ManualOutcome | None
    obstacles: tuple[Reason, ...] = ()


def pending_winners(tx: Connection, experiment: str | None = None) -> list[Winner]:
    """The winners (of one experiment, if named) that a rollout is still to be made of."""
    rows = tx.execute(QUERIES["winners_without_rollout"], {"experiment": experiment}).mappings()
    return [Winner.model_validate(dict(row)) for row in rows]


def roll_out_winner(tx: Connection, experiment: str, actor: str) -> WinnerOutcome | None:
    """Make the rollout of an experiment's winner: one that runs, by its policy, else a draft.

    It belongs to the experiment's organization, and goes to users of its own, other than those who
    saw the winner in the experiment. Where its start is refused there is a draft, and the decision
    says why. None where it was made before.
    """
    tx.execute(QUERIES["lock_winner"], {"experiment": experiment})
    [*found] = pending_winners(tx, experiment)
    if not found:
        return None
    winner = found[0]
    name = _name(tx, winner)
    reason = f"{winner.winner} won {winner.experiment} (decision {winner.decision_id})"
    made = _made(tx, winner, name, actor, reason)
    decided = _decided(tx, winner, name, made, actor)
    if made.rollout is not None:
        origin = winner.model_dump() | {"rollout_id": made.rollout.rollout_id}
        tx.execute(QUERIES["record_origin"], origin)
    return WinnerOutcome(
        experiment=winner.experiment,
        winner=winner.winner,
        verdict=decided.verdict.verdict,
        reasons=decided.verdict.reasons,
        rollout=made.rollout,
    )


def _made(tx: Connection, winner: Winner, name: str, actor: str, reason: str) -> _Made:
    try:
        plan = RolloutPlan(
            name=name,
            model_version=winner.model_version,
            control_version=winner.control_version,
            organization=winner.organization,
            experiment=winner.experiment,
            variant=winner.winner,
            resalt=True,
        )
    except ValidationError as error:
        return _Made(None, (Reason("no-plan", problems(error, RolloutPlan)),))
    if winner.policy != "roll_out":
        return _drafted(tx, plan, actor, reason)
    try:
        with tx.begin_nested():
            return _Made(manual.start(tx, plan, actor, reason))
    except Refused as refusal:
        return _drafted(tx, plan, actor, reason, refusal.reasons)


def _drafted(
    tx: Connection, plan: RolloutPlan, actor: str, reason: str, obstacles: tuple[Reason, ...] = ()
) -> _Made:
    try:
        with tx.begin_nested():
            return _Made(drafts.create(tx, plan, actor, reason), obstacles)
    except Refused as refusal:
        return _Made(None, refusal.reasons)


def _decided(tx: Connection, winner: Winner, name: str, made: _Made, actor: str) -> Decided:
    told: dict[str, Any] = winner.model_dump(exclude={"experiment_id", "organization"})
    evidence = WinnerRollout(
        **told, rollout=name, obstacles=made.obstacles, is_possible=made.rollout is not None
    )
    subject = f"experiment:{winner.experiment}"
    return decide(tx, decide_rollout, evidence, subject=subject, actor=actor)


def _name(tx: Connection, winner: Winner) -> str:
    """A free name: the experiment's and the variant's, if need be with the decision's number."""
    name = f"{winner.experiment}-{winner.winner}"[:_LONGEST_NAME]
    is_free = tx.scalar(QUERIES["is_name_free"], {"name": name})
    return name if is_free else f"{name}-{winner.decision_id}"
