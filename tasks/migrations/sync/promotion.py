"""May an environment get what the one before it has? Pure.

What reaches an environment has passed the one before it: the same revision, with the same
content, and with the same schema as the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tasks.decisions import Verdict, rule
from tasks.errors import Reason
from tasks.migrations.fingerprint.model import Difference

ALLOWED, NOTHING_TO_DO, REFUSED = "allowed", "nothing-to-do", "refused"
_PASSED = frozenset({"applied", "adopted", "edited"})
_SHOWN = 3


class RevisionContent(BaseModel):
    """A revision, and what it says: in the files, or as the history of a database has it.

    The SQL's checksum counts only beside one that the same libraries (``renderer``) wrote.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    revision: str
    script_checksum: str | None = None
    sql_checksum: str | None = None
    renderer: str | None = None


class Passed(RevisionContent):
    """What a database has of a revision: its state there, when it was applied, and by whom."""

    state: str
    applied_at: datetime | None = None
    actor: str | None = None


class Predecessor(BaseModel):
    """An environment that comes just before, and what of the revisions it has.

    ``problem`` says why it could not be asked. ``planned`` are revisions that the same
    synchronisation applies there first. ``differences`` are those of the schema that the
    environment would have from the one that this had at the same revision (None: not known).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    environment: str
    passed: tuple[Passed, ...] = ()
    problem: str | None = None
    planned: tuple[str, ...] = ()
    differences: tuple[Difference, ...] | None = None


class PromotionEvidence(BaseModel):
    """What is to be applied to an environment, what it has already, and those before it.

    ``is_rehearsed`` once the resulting schema is known, from a rehearsal or because it is there:
    from then on it must be the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    environment: str
    goals: tuple[str, ...]
    pending: tuple[RevisionContent, ...] = ()
    applied: tuple[Passed, ...] = ()
    predecessors: tuple[Predecessor, ...] = ()
    is_rehearsed: bool = False


class SyncEvidence(BaseModel):
    """What speaks against bringing an environment to where the source stands."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    environment: str
    source: str
    direction: Literal["upgrade"] = "upgrade"
    reasons: tuple[Reason, ...] = ()


@rule("migration-sync", version=1)
def judge_sync(evidence: SyncEvidence) -> Verdict:
    """Refused for any reason, else allowed."""
    verdict = REFUSED if evidence.reasons else ALLOWED
    return Verdict(verdict=verdict, reasons=evidence.reasons)


@rule("promotion", version=1)
def judge_promotion(evidence: PromotionEvidence) -> Verdict:
    """Allowed, nothing to do, or refused with what each environment before it has not passed."""
    reasons = tuple(
        reason
        for predecessor in evidence.predecessors
        for reason in _reasons(evidence, predecessor)
    )
    details = {
        "revisions": [item.revision for item in evidence.pending],
        "predecessors": [item.environment for item in evidence.predecessors],
        "schema": "compared" if evidence.is_rehearsed else "not compared yet",
    }
    if reasons:
        return Verdict(verdict=REFUSED, reasons=reasons, details=details)
    return Verdict(verdict=ALLOWED if evidence.pending else NOTHING_TO_DO, details=details)


def _reasons(evidence: PromotionEvidence, predecessor: Predecessor) -> Iterator[Reason]:
    environment, before = evidence.environment, predecessor.environment
    if predecessor.problem is not None:
        if evidence.pending:
            yield _unknown(environment, predecessor)
        return
    passed = {item.revision: item for item in predecessor.passed}
    for item in evidence.pending:
        found = passed.get(item.revision)
        if item.revision in predecessor.planned and not _has_passed(found):
            continue
        if found is None or not _has_passed(found):
            yield _not_passed(environment, before, item, found)
        else:
            yield from _content(environment, before, found, item, "the file here")
    for there in evidence.applied:
        found = passed.get(there.revision)
        if found is not None and _has_passed(found) and _differ(found, there):
            yield _content_differs(before, found, there, f"{environment!r}")
    if evidence.is_rehearsed:
        yield from _schema(evidence, predecessor)


def _has_passed(found: Passed | None) -> bool:
    return found is not None and found.state in _PASSED


def _content(
    environment: str, before: str, found: Passed, item: RevisionContent, where: str
) -> Iterator[Reason]:
    if found.script_checksum is None:
        yield Reason(
            "content-unknown",
            f"{before!r} has {item.revision!r}, but its history does not say with which content "
            f"(it was applied before Headway). Undo it there and apply it again, or migrate "
            f"{environment!r} by itself (headway migrate run --env {environment})",
        )
    elif _differ(found, item):
        yield _content_differs(before, found, item, where)


def _differ(one: RevisionContent, other: RevisionContent) -> bool:
    if one.script_checksum is None or other.script_checksum is None:
        return False
    return one.script_checksum != other.script_checksum or _sql_differs(one, other)


def _sql_differs(one: RevisionContent, other: RevisionContent) -> bool:
    is_comparable = one.renderer is not None and one.renderer == other.renderer
    if not is_comparable or one.sql_checksum is None or other.sql_checksum is None:
        return False
    return one.sql_checksum != other.sql_checksum


def _content_differs(before: str, found: Passed, other: RevisionContent, where: str) -> Reason:
    one, two = _checksums(found, other)
    when = f" {found.applied_at:%Y-%m-%d %H:%M}" if found.applied_at else ""
    return Reason(
        "content-differs",
        f"revision {found.revision!r} is not the same everywhere: {before!r} ran {one} (applied"
        f"{when} by {found.actor or 'an unknown person'}), {where} has {two}. Restore the file as "
        f"{before!r} ran it and write the change as a new revision, or undo it in {before!r} and "
        "apply it there as it is now",
    )


def _checksums(one: RevisionContent, other: RevisionContent) -> tuple[str, str]:
    if one.script_checksum == other.script_checksum:
        return f"SQL {(one.sql_checksum or '')[:12]}", f"SQL {(other.sql_checksum or '')[:12]}"
    return f"content {(one.script_checksum or '')[:12]}", f"{(other.script_checksum or '')[:12]}"


def _not_passed(
    environment: str, before: str, item: RevisionContent, found: Passed | None
) -> Reason:
    state = "only stamped there, not run" if found and found.state == "stamped" else "not applied"
    if found is not None and found.state not in {"pending", "stamped"}:
        state = found.state
    return Reason(
        "not-passed-by-predecessor",
        f"{environment!r} would get {item.revision!r}, which {before!r} has not passed ({state}). "
        f"Bring {before!r} there first (headway migrate sync --to {before}), or migrate "
        f"{environment!r} by itself (headway migrate run --env {environment})",
    )


def _unknown(environment: str, predecessor: Predecessor) -> Reason:
    return Reason(
        "predecessor-unknown",
        f"what {predecessor.environment!r} has passed cannot be told: {predecessor.problem}. Put "
        f"that right and plan again, or migrate {environment!r} by itself "
        f"(headway migrate run --env {environment})",
    )


def _schema(evidence: PromotionEvidence, predecessor: Predecessor) -> Iterator[Reason]:
    environment, before = evidence.environment, predecessor.environment
    at = ", ".join(evidence.goals) or "base"
    if predecessor.differences is None:
        yield Reason(
            "schema-unknown",
            f"no schema of {before!r} at {at} is recorded, so that of {environment!r} cannot be "
            f"compared with it. Have it recorded (headway migrate run --env {before}), or migrate "
            f"{environment!r} by itself (headway migrate run --env {environment})",
        )
        return
    found = [each.text for each in predecessor.differences if not each.is_information]
    if found:
        yield Reason(
            "schema-differs-from-predecessor",
            f"at {at}, {environment!r} would not have the schema that {before!r} has: "
            f"{_listed(found)}. Remove that difference (headway migrate drift --env "
            f"{environment}), or accept it there as it is (--accept)",
        )


def _listed(found: Iterable[str]) -> str:
    every = list(found)
    more = f"; and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return "; ".join(every[:_SHOWN]) + more
