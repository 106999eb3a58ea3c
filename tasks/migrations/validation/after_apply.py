"""What to do when a database is not as it should be after its revisions ran. Pure."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tasks.decisions import Verdict, rule
from tasks.errors import Reason


class AppliedRevisionFacts(BaseModel):
    """A revision that this run applied, and whether its rehearsal proved that it goes back.

    ``is_lossless`` is None where nothing was rehearsed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    revision: str
    is_lossless: bool | None


class AfterApplyEvidence(BaseModel):
    """What this run applied, in order, and what was found afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    environment: str
    applied: tuple[AppliedRevisionFacts, ...]
    is_as_rehearsed: bool | None
    invalid_indexes: tuple[str, ...] = ()
    failed_suites: tuple[str, ...] = ()
    failure: str | None = None


@rule("after-apply", version=1)
def judge_after_apply(evidence: AfterApplyEvidence) -> Verdict:
    """`keep`, or `roll-back` where the rehearsal proved it lossless, or `stop`.

    ``details.revisions`` are those to undo, the last applied first.
    """
    problems = _problems(evidence)
    if not problems:
        return Verdict(verdict="keep")
    unproven = [each.revision for each in evidence.applied if not each.is_lossless]
    if not evidence.applied or unproven:
        return Verdict(verdict="stop", reasons=(*problems, _stopped(evidence, unproven)))
    back = [each.revision for each in reversed(evidence.applied)]
    return Verdict(verdict="roll-back", reasons=problems, details={"revisions": back})


def _problems(evidence: AfterApplyEvidence) -> tuple[Reason, ...]:
    place = f"{evidence.environment!r}"
    found = []
    if evidence.failure is not None:
        found.append(Reason("failed", f"migrating {place} failed: {evidence.failure}"))
    if evidence.is_as_rehearsed is False:
        message = f"the schema of {place} is not what the rehearsal made of it"
        found.append(Reason("not-as-rehearsed", message))
    if evidence.invalid_indexes:
        message = f"indexes of {place} are invalid: {', '.join(evidence.invalid_indexes)}"
        found.append(Reason("invalid-index", message))
    if evidence.failed_suites:
        message = f"rows of {place} break expectations: {', '.join(evidence.failed_suites)}"
        found.append(Reason("expectations-failed", message))
    return tuple(found)


def _stopped(evidence: AfterApplyEvidence, unproven: list[str]) -> Reason:
    if not evidence.applied:
        message = "this run applied nothing, so nothing is undone; look at the schema "
        return Reason("not-undone", f"{message}(headway migrate drift), and mend what is named")
    return Reason(
        "not-undone",
        f"nothing was undone: no rehearsal proved that {', '.join(unproven)} can be without a "
        "loss. Mend what is named and migrate on, or roll back by hand: headway migrate rollback "
        f"--env {evidence.environment}",
    )
