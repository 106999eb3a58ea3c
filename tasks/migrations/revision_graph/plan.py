"""Which revisions to apply or to roll back, in which order, or why not. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field

from tasks.decisions import Verdict, rule
from tasks.errors import Reason
from tasks.migrations.revision_graph import conflicts, graph, targets, ways_out
from tasks.migrations.revision_graph.conflicts import Findings
from tasks.migrations.revision_graph.facts import DatabaseEvidence
from tasks.migrations.revision_graph.script import Script

Direction = Literal["upgrade", "downgrade"]
ALLOWED, NOTHING_TO_DO, REFUSED = "allowed", "nothing-to-do", "refused"


class PlanEvidence(DatabaseEvidence):
    """Everything that a plan depends on: files, the database's state, and what is asked.

    An upgrade goes to ``target``: `head`, `heads`, a revision (or the start of its id),
    `label@head`, or `+N`. A downgrade undoes ``steps`` revisions or, if it is given, everything
    that is not below ``to`` (revisions separated by commas, or `base`). ``confirm`` is the name
    typed by who rolls back a protected environment, or resets any. ``run_spliced`` lets an upgrade
    run what was put below an applied revision, ``use_stored`` goes by the history's copies where
    files are gone.
    """

    direction: Direction
    target: str = "head"
    steps: int = Field(default=1, ge=1)
    to: str | None = None
    is_protected: bool = False
    is_reset: bool = False
    forbids_reset: bool = False
    confirm: str | None = None
    run_spliced: bool = False
    use_stored: bool = False


@rule("migration-plan", version=2)
def judge_plan(evidence: PlanEvidence) -> Verdict:
    """Allowed with the ordered revisions in the details, nothing to do, or refused."""
    found = conflicts.find(evidence, use_stored=evidence.use_stored)
    reasons = tuple(reason for reason in found.reasons if not _is_asked_for(evidence, reason))
    if reasons:
        return Verdict(verdict=REFUSED, reasons=reasons)
    if evidence.direction == "upgrade":
        return _plan_upgrade(evidence, found)
    return _plan_downgrade(evidence, found)


def _is_asked_for(evidence: PlanEvidence, reason: Reason) -> bool:
    is_upgrade = evidence.direction == "upgrade"
    return is_upgrade and evidence.run_spliced and reason.code == "spliced-revision"


def _plan_upgrade(evidence: PlanEvidence, found: Findings) -> Verdict:
    goals = targets.upgrade_goals(
        found.scripts, found.applied, evidence.target, evidence.environment
    )
    if isinstance(goals, Reason):
        return Verdict(verdict=REFUSED, reasons=(goals,))
    wanted = graph.with_ancestors(found.scripts, goals)
    return _verdict(evidence, found, graph.upward(found.scripts, wanted - found.applied))


def _plan_downgrade(evidence: PlanEvidence, found: Findings) -> Verdict:
    if not found.applied:
        return _verdict(evidence, found, ())
    if evidence.is_reset and evidence.forbids_reset:
        return Verdict(verdict=REFUSED, reasons=(ways_out.no_reset(evidence.environment),))
    needs_name = evidence.is_protected or evidence.is_reset
    if needs_name and evidence.confirm != evidence.environment:
        reason = ways_out.unconfirmed(evidence.environment, is_reset=evidence.is_reset)
        return Verdict(verdict=REFUSED, reasons=(reason,))
    positions = {item.revision: item.position for item in evidence.history}
    order = graph.downward(found.scripts, found.applied, lambda r: positions.get(r, 0))
    chosen = _chosen(evidence, found, order)
    if isinstance(chosen, Reason):
        return Verdict(verdict=REFUSED, reasons=(chosen,))
    final = tuple(ways_out.irreversible(script) for script in chosen if script.irreversible)
    if final:
        return Verdict(verdict=REFUSED, reasons=final)
    return _verdict(evidence, found, chosen)


def _chosen(
    evidence: PlanEvidence, found: Findings, order: tuple[Script, ...]
) -> tuple[Script, ...] | Reason:
    if evidence.to is not None:
        undone = targets.downgrade_set(found.scripts, found.applied, evidence.to)
        if isinstance(undone, Reason):
            return undone
        return tuple(script for script in order if script.revision in undone)
    if evidence.steps > len(order):
        return Reason(
            "fewer-applied",
            f"{evidence.steps} revisions are to be rolled back, only {len(order)} are applied",
        )
    return order[: evidence.steps]


def _verdict(evidence: PlanEvidence, found: Findings, revisions: Iterable[Script]) -> Verdict:
    listed = [_listed(script, found) for script in revisions]
    details: dict[str, Any] = {"direction": evidence.direction, "revisions": listed}
    for name in ("stamped", "unverified", "cosmetic", "rendered_otherwise", "stored_only"):
        noticed = sorted(getattr(found, name))
        if noticed:
            details[name] = noticed
    return Verdict(verdict=ALLOWED if listed else NOTHING_TO_DO, details=details)


def _listed(script: Script, found: Findings) -> dict[str, Any]:
    about: dict[str, Any] = {
        "revision": script.revision,
        "title": script.title,
        "file": script.file,
        "content": script.content,
    }
    optional = {
        "lossy": script.lossy,
        "irreversible": script.irreversible,
        "is_spliced": script.revision in found.spliced,
        "is_stored": script.is_stored,
    }
    return about | {name: value for name, value in optional.items() if value}
