"""May a plan be carried out? All that was found about it, put together. Pure.

The graph, the drift, the preconditions, the rehearsal and the hazards are judged each for itself;
here their verdicts become one, with a hash that binds it to the target as it was.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from tasks.decisions import Verdict, rule
from tasks.errors import Reason

SHORTEST_HASH = 7


class Part(BaseModel):
    """One judgement that a plan depends on, and its row in `headway.decision`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    decision_id: int
    verdict: str
    reasons: tuple[Reason, ...] = ()

    @property
    def is_refusal(self) -> bool:
        """True if nothing may be done because of it."""
        return self.verdict in {"refused", "drift", "unknown"}


class PlanFacts(BaseModel):
    """What a plan was made for: if any of it changes, the plan is stale.

    ``revisions`` pairs each revision, in order, with the checksum of its content;
    ``fingerprint`` is the hash of the target's schema.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    environment: str
    direction: Literal["upgrade", "downgrade"]
    revisions: tuple[tuple[str, str], ...]
    heads: tuple[str, ...]
    fingerprint: str

    @property
    def hash(self) -> str:
        """sha256 as hex; its first characters name the plan."""
        written = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(written.encode()).hexdigest()


class GateEvidence(BaseModel):
    """The judgements about a plan, what it was made for, and what a saved plan was made for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    facts: PlanFacts
    parts: tuple[Part, ...]
    saved: PlanFacts | None = None


@rule("migration-gate", version=1)
def judge_gate(evidence: GateEvidence) -> Verdict:
    """Allowed, nothing to do, or refused with the reasons of every part that refuses."""
    details: dict[str, Any] = {"plan_hash": evidence.facts.hash}
    reasons = tuple(r for part in evidence.parts if part.is_refusal for r in part.reasons)
    stale = _changes(evidence.saved, evidence.facts) if evidence.saved else ()
    if stale:
        return Verdict(verdict="refused", reasons=(_stale(evidence, stale),), details=details)
    if any(part.is_refusal for part in evidence.parts):
        return Verdict(verdict="refused", reasons=reasons, details=details)
    verdict = "allowed" if evidence.facts.revisions else "nothing-to-do"
    return Verdict(verdict=verdict, details=details)


def _changes(saved: PlanFacts, now: PlanFacts) -> tuple[str, ...]:
    names = {
        "environment": "it is for another environment",
        "direction": "it goes the other way",
        "heads": f"the database is at {_listed(now.heads)}, it was at {_listed(saved.heads)}",
        "revisions": "the revisions that are to run, or their content, changed",
        "fingerprint": "the schema of the database changed",
    }
    return tuple(
        words for name, words in names.items() if getattr(saved, name) != getattr(now, name)
    )


def _listed(heads: tuple[str, ...]) -> str:
    return ", ".join(heads) or "base"


def _stale(evidence: GateEvidence, changes: tuple[str, ...]) -> Reason:
    facts = evidence.facts
    return Reason(
        "plan-is-stale",
        f"since the plan for {facts.environment!r} was made, {'; '.join(changes)}. Make a new plan "
        f"(headway migrate plan --env {facts.environment}), or undo what changed",
    )
