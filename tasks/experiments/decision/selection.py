"""May a person choose this winner?"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tasks.decisions import Verdict, rule
from tasks.errors import Reason


class SelectionEvidence(BaseModel):
    """What a person asks for, and what the last look decided."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiment: str
    status: str
    variants: tuple[str, ...]
    requested: str | None = None  # None: as decided
    decided: str | None = None  # the winner of the last look
    decision_id: int | None = None  # None: it was never looked at
    decided_reasons: tuple[Reason, ...] = ()
    chosen: str | None = None  # the winner that is set already
    is_forced: bool = False


@rule("winner-selection", version=2)
def judge_selection(evidence: SelectionEvidence) -> Verdict:
    """Say "selected" (details.winner), "nothing" where it is chosen already, or "refused"."""
    impossible = _impossible(evidence)
    if impossible is not None:
        return Verdict(verdict="refused", reasons=(impossible,))
    winner = evidence.requested or evidence.decided
    objections = _objections(evidence)
    if objections and not evidence.is_forced:
        return Verdict(verdict="refused", reasons=(*objections, _insisting(evidence)))
    is_done = evidence.chosen == winner and evidence.status == "completed"
    return Verdict(
        verdict="nothing" if is_done else "selected",
        reasons=objections,
        details={"winner": winner, "is_forced": bool(objections)},
    )


def _impossible(evidence: SelectionEvidence) -> Reason | None:
    """What no insisting helps against."""
    if evidence.status in {"draft", "archived"}:
        return Reason(f"is-{evidence.status}", f"it is {evidence.status}")
    if evidence.requested is not None and evidence.requested not in evidence.variants:
        known = ", ".join(evidence.variants)
        return Reason("unknown-variant", f"it has no variant {evidence.requested!r}; only {known}")
    if evidence.requested is None and evidence.decided is None and evidence.is_forced:
        return Reason("no-variant", "name the variant: no look has decided on one")
    return None


def _objections(evidence: SelectionEvidence) -> tuple[Reason, ...]:
    """What only the person's own responsibility overcomes."""
    if evidence.decision_id is None:
        return (Reason("not-analysed", "it has not been looked at yet"),)
    if evidence.decided is None:
        return (Reason("no-winner", "its last look names no winner"), *evidence.decided_reasons)
    if evidence.requested not in {None, evidence.decided}:
        message = f"its last look names {evidence.decided}, not {evidence.requested}"
        return (Reason("not-the-winner", message),)
    return ()


def _insisting(evidence: SelectionEvidence) -> Reason:
    """How a person chooses on their own responsibility."""
    name = evidence.requested or "VARIANT"
    known = "" if evidence.requested else f" ({', '.join(evidence.variants)})"
    message = (
        f"to choose one all the same, and keep what spoke against it: --variant {name} --force"
    )
    return Reason("needs-force", f"{message}{known}")
