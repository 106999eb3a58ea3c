"""What may be done to an experiment, and in which state: one table of moves, one of edits.

    draft → active ⇄ paused → completed → archived

A change must leave what was measured so far valid: arms, metrics, error and planned size of an
experiment that has started stay as they are, its split of the traffic moves only units that have
not been assigned yet.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tasks.decisions import Verdict, rule
from tasks.errors import Reason

Status = Literal["draft", "active", "paused", "completed", "archived"]
Action = Literal["start", "pause", "resume", "complete", "archive", "edit", "delete"]

MOVES: dict[str, dict[str, str]] = {
    "start": {"draft": "active"},
    "pause": {"active": "paused"},
    "resume": {"paused": "active"},
    "complete": {"active": "completed", "paused": "completed"},
    "archive": {"completed": "archived"},
}
WORDS = frozenset({"description", "hypothesis", "label"})
_OPEN = WORDS | {"ends_at", "minimum_sample_size", "weight", "bandit"}
EDITABLE: dict[str, frozenset[str] | None] = {  # None: everything
    "draft": None,
    "active": _OPEN,
    "paused": _OPEN,
    "completed": WORDS,
    "archived": WORDS,
}
# What units were assigned and measured by, also where somebody loaded them into a draft.
_OF_DATA = frozenset(
    {"variants", "metric", "secondary_metrics", "guardrails", "factors", "generators"}
    | {"is_holdout", "layer", "layer_share"}
)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FieldChange(_Frozen):
    """One field of a plan, or of one of its arms, before and after."""

    field: str
    variant: str | None = None
    old: Any = None
    new: Any = None

    @property
    def place(self) -> str:
        """The field as a person would look for it in the plan."""
        return self.field if self.variant is None else f"{self.field} of {self.variant}"


class ChangeEvidence(_Frozen):
    """What is asked of an experiment, and how it stands."""

    experiment: str
    action: Action
    status: Status
    version: Annotated[int, Field(ge=1)]
    expected_version: int | None = None  # what the person saw when they decided
    has_data: bool = False
    method: str = ""
    changes: tuple[FieldChange, ...] = ()


@rule("experiment-change", version=1)
def judge_change(evidence: ChangeEvidence) -> Verdict:
    """Judge one change: "allowed" (details.status is what it leads to), "nothing" or "refused"."""
    reasons = _stale(evidence) or _reasons(evidence)
    if reasons:
        return Verdict(verdict="refused", reasons=tuple(reasons))
    status = _status_after(evidence)
    is_nothing = status == evidence.status and not evidence.changes
    return Verdict(
        verdict="nothing" if is_nothing else "allowed",
        details={"status": status, "changed": [change.place for change in evidence.changes]},
    )


def _stale(evidence: ChangeEvidence) -> list[Reason]:
    if evidence.expected_version in {None, evidence.version}:
        return []
    message = (
        f"it is at version {evidence.version}, no longer at {evidence.expected_version}: "
        "somebody changed it meanwhile; look at it again"
    )
    return [Reason("stale-version", message)]


def _reasons(evidence: ChangeEvidence) -> list[Reason]:
    if evidence.action == "edit":
        return [reason for change in evidence.changes if (reason := _misedit(evidence, change))]
    if evidence.action == "delete":
        return _undeletable(evidence)
    if _status_after(evidence) is not None:
        return []
    allowed = " or ".join(MOVES[evidence.action])
    message = f"it is {evidence.status}; only one that is {allowed} can {_verb(evidence.action)}"
    return [Reason("illegal-move", message)]


def _status_after(evidence: ChangeEvidence) -> str | None:
    """The state that a move leads to; where it is there already, it stays; None: no such move."""
    if evidence.action == "edit":
        return evidence.status
    if evidence.action == "delete":
        return None
    moves = MOVES[evidence.action]
    if evidence.status in moves.values():
        return evidence.status
    return moves.get(evidence.status)


def _undeletable(evidence: ChangeEvidence) -> list[Reason]:
    if evidence.status != "draft":
        message = f"it is {evidence.status}: what happened is kept; archive it instead"
        return [Reason("not-a-draft", message)]
    if evidence.has_data:
        return [Reason("has-data", "units were assigned to it; start, complete and archive it")]
    return []


def _misedit(evidence: ChangeEvidence, change: FieldChange) -> Reason | None:
    editable = EDITABLE[evidence.status]
    if editable is not None and change.field not in editable:
        message = (
            f"{change.place} cannot change once an experiment is {evidence.status}: what was "
            "measured would no longer be what was planned; start another experiment"
        )
        return Reason("field-is-fixed", message)
    if evidence.status == "draft":
        is_of_data = change.field in _OF_DATA or change.variant is not None
        if evidence.has_data and is_of_data and change.field != "label":
            message = f"{change.place} cannot change: units were assigned to it already"
            return Reason("has-data", message)
        return None
    if change.field == "ends_at" and evidence.method == "fixed":
        message = (
            "ends_at cannot change: its method tests once, at the planned end, and an end that is "
            "chosen after looking is peeking; complete it, or start another experiment"
        )
        return Reason("end-is-fixed", message)
    if change.field == "minimum_sample_size" and change.new < change.old:
        message = f"minimum_sample_size can only grow now, not from {change.old} to {change.new}"
        return Reason("minimum-may-only-grow", message)
    return None


def _verb(action: str) -> str:
    return {"complete": "be completed", "archive": "be archived"}.get(action, action)
