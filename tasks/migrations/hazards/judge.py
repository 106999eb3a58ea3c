"""May a migration with these hazards run? Pure; `find` finds them, `decide` weighs them."""

from __future__ import annotations

from tasks.decisions import Verdict, rule
from tasks.errors import Reason
from tasks.migrations.hazards.model import Frozen, Hazard

ALLOWED, REFUSED = "allowed", "refused"


class HazardEvidence(Frozen):
    """The hazards of a plan, and what was approved (`code@revision`) by whom.

    ``rehearsed`` is what the rehearsed copy held; None without a rehearsal.
    """

    environment: str
    hazards: tuple[Hazard, ...]
    approvals: tuple[str, ...] = ()
    actor: str | None = None
    rehearsed: str | None = None


@rule("migration-hazards", version=1)
def judge_hazards(evidence: HazardEvidence) -> Verdict:
    """Refused for critical hazards, for high ones that are not approved, and for odd approvals.

    Warnings and advice never block, nor does what was dismissed.
    """
    standing = [hazard for hazard in evidence.hazards if hazard.outcome != "dismissed"]
    approved = set(evidence.approvals)
    blocking = [
        hazard
        for hazard in standing
        if hazard.severity == "critical"
        or (hazard.severity == "high" and hazard.approval not in approved)
    ]
    alike: dict[str, list[Hazard]] = {}
    for hazard in blocking:
        alike.setdefault(f"{hazard.approval} {hazard.direction}", []).append(hazard)
    reasons = (*(_reason(*each) for each in alike.values()), *_odd_approvals(evidence))
    used = [h.approval for h in standing if h.severity == "high" and h.approval in approved]
    details = {
        "approved": list(dict.fromkeys(used)),
        "approved_by": evidence.actor if used else None,
        "warnings": sum(hazard.severity in {"warning", "advice"} for hazard in standing),
        "dismissed": len(evidence.hazards) - len(standing),
    }
    verdict = REFUSED if reasons else ALLOWED
    return Verdict(verdict=verdict, reasons=reasons, details=details)


def _reason(hazard: Hazard, *others: Hazard) -> Reason:
    statement = f" ({hazard.statement})" if hazard.statement else ""
    more = f" (and {len(others)} more like it)" if others else ""
    figures = f" [{hazard.evidence}]" if hazard.evidence else ""
    way_out = (
        "it cannot be approved"
        if hazard.severity == "critical"
        else f"or approve it: --approve {hazard.approval}"
    )
    return Reason(
        hazard.code,
        f"{hazard.direction} of {hazard.revision} in {hazard.file}{statement}: {hazard.message}"
        f"{more}{figures}; instead: {hazard.safe_rewrite}; {way_out}",
    )


def _odd_approvals(evidence: HazardEvidence) -> tuple[Reason, ...]:
    present = {hazard.approval: hazard.severity for hazard in evidence.hazards}
    unknown = [approval for approval in evidence.approvals if approval not in present]
    listed = ", ".join(sorted(a for a, severity in present.items() if severity == "high"))
    reasons = tuple(
        Reason(
            "unknown-approval",
            f"{approval!r} approves nothing that this plan does; to approve here: "
            f"{listed or 'nothing'}",
        )
        for approval in unknown
    )
    if evidence.approvals and not evidence.actor:
        nobody = Reason("approval-without-actor", "an approval needs who gives it (the actor)")
        return (*reasons, nobody)
    return reasons
