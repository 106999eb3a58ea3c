"""Which revisions to apply or to roll back, in which order, or why not. Pure."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tasks.decisions import Verdict, rule
from tasks.errors import Reason
from tasks.migrations import graph, integrity
from tasks.migrations.integrity import AppliedRevision
from tasks.migrations.script import Script, UnreadableScript

Direction = Literal["upgrade", "downgrade"]
ALLOWED, NOTHING_TO_DO, REFUSED = "allowed", "nothing-to-do", "refused"


class PlanEvidence(BaseModel):
    """Everything that a plan depends on: the files, the database's state, and what is asked.

    ``current`` are the database's heads (its alembic_version rows), ``history`` the last time
    that each revision was applied, ``confirm`` the name typed by who rolls back a protected
    environment.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    environment: str
    direction: Direction
    target: str = "head"
    steps: int = Field(default=1, ge=1)
    scripts: tuple[Script, ...]
    unreadable: tuple[UnreadableScript, ...] = ()
    current: tuple[str, ...] = ()
    history: tuple[AppliedRevision, ...] = ()
    is_protected: bool = False
    confirm: str | None = None


@rule("migration-plan", version=1)
def judge_plan(evidence: PlanEvidence) -> Verdict:
    """Allowed with the ordered revisions in the details, nothing to do, or refused."""
    reasons = _faults(evidence)
    if reasons:
        return Verdict(verdict=REFUSED, reasons=reasons)
    if evidence.direction == "upgrade":
        return _plan_upgrade(evidence)
    return _plan_downgrade(evidence)


def _faults(evidence: PlanEvidence) -> tuple[Reason, ...]:
    unreadable = tuple(
        Reason("unreadable-revision", f"{item.file} is not a revision: {item.problem}")
        for item in evidence.unreadable
    )
    broken = unreadable + graph.faults(evidence.scripts)
    if broken:
        return broken
    applied = graph.with_ancestors(evidence.scripts, evidence.current)
    return _unknown(evidence) + integrity.edited(evidence.scripts, evidence.history, applied)


def _unknown(evidence: PlanEvidence) -> tuple[Reason, ...]:
    known = {script.revision for script in evidence.scripts}
    return tuple(
        Reason(
            "unknown-database-revision",
            f"the database of {evidence.environment!r} is at revision {revision!r}, which no file "
            "here defines: a newer release has migrated it, or the file was deleted; use that "
            "release, or roll back with it first",
        )
        for revision in evidence.current
        if revision not in known
    )


def _plan_upgrade(evidence: PlanEvidence) -> Verdict:
    goals = _goals(evidence)
    if isinstance(goals, Reason):
        return Verdict(verdict=REFUSED, reasons=(goals,))
    wanted = graph.with_ancestors(evidence.scripts, goals)
    applied = graph.with_ancestors(evidence.scripts, evidence.current)
    return _verdict(evidence, graph.upward(evidence.scripts, wanted - applied))


def _goals(evidence: PlanEvidence) -> tuple[str, ...] | Reason:
    heads = graph.heads(evidence.scripts)
    if evidence.target == "heads" or (evidence.target == "head" and len(heads) <= 1):
        return tuple(script.revision for script in heads)
    if evidence.target == "head":
        files = " and ".join(f"{script.file} ({script.revision})" for script in heads)
        return Reason(
            "multiple-heads",
            f"there are {len(heads)} heads: {files}; join them with "
            f"`alembic merge {' '.join(script.revision for script in heads)}`, or name a target",
        )
    known = {script.revision for script in evidence.scripts}
    if evidence.target not in known:
        return Reason(
            "unknown-target",
            f"no file defines revision {evidence.target!r}; known: {', '.join(sorted(known))}",
        )
    return (evidence.target,)


def _plan_downgrade(evidence: PlanEvidence) -> Verdict:
    applied = graph.with_ancestors(evidence.scripts, evidence.current)
    if applied and evidence.is_protected and evidence.confirm != evidence.environment:
        reason = Reason(
            "protected-environment",
            f"{evidence.environment!r} is protected: to roll it back, give its name as `confirm`",
        )
        return Verdict(verdict=REFUSED, reasons=(reason,))
    if applied and evidence.steps > len(applied):
        reason = Reason(
            "fewer-applied",
            f"{evidence.steps} revisions are to be rolled back, only {len(applied)} are applied",
        )
        return Verdict(verdict=REFUSED, reasons=(reason,))
    positions = {item.revision: item.position for item in evidence.history}
    order = graph.downward(evidence.scripts, applied, lambda r: positions.get(r, 0))
    return _verdict(evidence, order[: evidence.steps])


def _verdict(evidence: PlanEvidence, revisions: tuple[Script, ...]) -> Verdict:
    listed = [
        {"revision": script.revision, "title": script.title, "file": script.file}
        for script in revisions
    ]
    return Verdict(
        verdict=ALLOWED if revisions else NOTHING_TO_DO,
        details={"direction": evidence.direction, "revisions": listed},
    )
