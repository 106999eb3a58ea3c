"""A plan that was made before, found again by its hash."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import InputError, NotFound, Reason, Refused
from tasks.migrations.plans.gate import SHORTEST_HASH, GateEvidence, PlanFacts
from tasks.migrations.rehearsal.judge import RehearsalEvidence
from tasks.migrations.rehearsal.model import Rehearsal

QUERIES = load_queries(__package__, "plans.sql")


class SavedPlan(BaseModel):
    """What a plan was made for, and what its rehearsal showed."""

    model_config = ConfigDict(frozen=True)

    facts: PlanFacts
    rehearsal: Rehearsal | None = None


def find(connection: Connection, plan_hash: str) -> SavedPlan:
    """The newest plan whose hash starts like this.

    Raises:
        InputError: too short to name a plan.
        NotFound: there is none.
        Refused: the plan itself was refused.
    """
    if len(plan_hash) < SHORTEST_HASH:
        raise InputError(f"{plan_hash!r} names no plan: give at least {SHORTEST_HASH} characters")
    row = connection.execute(QUERIES["saved_plan"], {"prefix": plan_hash}).first()
    if row is None:
        raise NotFound(
            f"there is no plan {plan_hash!r}; `headway migrate plan` makes one and shows its hash"
        )
    if row.verdict == "refused":
        reasons = [Reason(each["code"], each["message"]) for each in row.reasons]
        raise Refused(f"plan {plan_hash}", reasons)
    evidence = GateEvidence.model_validate(row.inputs)
    rehearsed = [part.decision_id for part in evidence.parts if part.name == "rehearsal"]
    return SavedPlan(facts=evidence.facts, rehearsal=_rehearsal(connection, rehearsed))


def _rehearsal(connection: Connection, decisions: list[int]) -> Rehearsal | None:
    for decision in decisions:
        inputs = connection.scalar(QUERIES["inputs_of_decision"], {"id": decision})
        return RehearsalEvidence.model_validate(inputs).rehearsal
    return None
