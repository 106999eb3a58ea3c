"""Where every environment stands. Reads only; needs no Prefect."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from tasks.errors import Reason
from tasks.migrations.revision_graph import graph, ways_out
from tasks.migrations.revision_graph.conflicts import Findings
from tasks.migrations.revision_graph.facts import DatabaseEvidence
from tasks.migrations.survey import LastRun, Look, survey

# States in which nothing can be migrated until somebody has decided something.
BLOCKED = frozenset(
    {
        "broken",
        "unreachable",
        "unreadable",
        "elsewhere",
        "unknown",
        "ahead",
        "missing",
        "edited",
        "spliced",
        "conflict",
    }
)
# The first of these codes that was found names the state.
_STATES = {
    "history-in-another-schema": "elsewhere",
    "missing-file": "missing",
    "edited-revision": "edited",
    "spliced-revision": "spliced",
}


class EnvironmentStatus(BaseModel):
    """One environment: where it is, what it lacks, whether its schema is as recorded.

    ``state`` is `current`, `pending` or `drift`; where nothing can be migrated, it is `edited` (an
    applied file was changed), `spliced` (a file was put below an applied one), `missing` (the file
    of an applied revision is gone), `ahead` (of the files), `unknown` (at a revision that neither a
    file nor the history has), `elsewhere` (its history is in another schema), `conflict` (several
    heads), `broken` (the files contradict each other), `unreadable` or `unreachable`. ``drift`` is
    None where it cannot be told; ``drift_found`` are the first differences in words.
    """

    model_config = ConfigDict(frozen=True)

    environment: str
    current_revision: str | None = None
    head: str | None = None
    pending: tuple[str, ...] = ()
    drift: int | None = None
    drift_found: tuple[str, ...] = ()
    information: tuple[str, ...] = ()
    state: str
    is_blocked: bool = False
    is_read_only: bool = False
    stamped: tuple[str, ...] = ()
    last_run: str | None = None
    problem: str | None = None
    reasons: tuple[Reason, ...] = ()

    @property
    def drift_in_words(self) -> str:
        """How much drift there is, and the first object that differs; a dash if unknown."""
        if self.drift is None:
            return "-"
        return f"{self.drift} ({self.drift_found[0]})" if self.drift_found else str(self.drift)


def migration_status(names: Sequence[str] | None = None) -> list[EnvironmentStatus]:
    """The status of these environments (default: every declared one), in their order."""
    return [status_of(look) for look in survey(names)]


def status_of(look: Look) -> EnvironmentStatus:
    """What was found in an environment, in one word and its reasons."""
    evidence, findings = look.evidence, look.findings
    if evidence is None or findings is None:
        state = "unreadable" if look.is_reached else "unreachable"
        return EnvironmentStatus(
            environment=look.environment, state=state, is_blocked=True, problem=look.problem
        )
    reasons = _reasons(evidence, findings)
    pending = pending_revisions(evidence, findings)
    state = _state(look, findings, pending, reasons)
    return EnvironmentStatus(
        environment=look.environment,
        current_revision=", ".join(evidence.current) or None,
        head=", ".join(script.revision for script in graph.heads(evidence.scripts)) or None,
        pending=pending,
        drift=None if look.drift is None else len(look.drift),
        drift_found=(look.drift or ())[:5],
        information=look.information,
        state=state,
        is_blocked=state in BLOCKED,
        is_read_only=look.is_read_only,
        stamped=tuple(sorted(findings.stamped)),
        last_run=_in_words(look.last_run),
        problem=_problem(look, findings, state, reasons),
        reasons=reasons,
    )


def pending_revisions(evidence: DatabaseEvidence, findings: Findings) -> tuple[str, ...]:
    """The files that are not applied, in the order of an upgrade; none if the graph is broken."""
    if findings.is_broken:
        return ()
    files = {script.revision for script in evidence.scripts}
    lacking = files - findings.applied - findings.spliced
    return tuple(script.revision for script in graph.upward(evidence.scripts, lacking))


def _reasons(evidence: DatabaseEvidence, findings: Findings) -> tuple[Reason, ...]:
    heads = graph.heads(evidence.scripts)
    if findings.is_broken or len(heads) < 2:
        return findings.reasons
    if {head.revision for head in heads} <= findings.applied:
        return findings.reasons
    return (*findings.reasons, ways_out.multiple_heads(evidence.environment, heads))


def _state(
    look: Look, findings: Findings, pending: Sequence[str], reasons: Sequence[Reason]
) -> str:
    if findings.is_broken:
        return "broken"
    codes = {reason.code for reason in reasons}
    if findings.foreign or findings.ahead:
        return "unknown" if findings.foreign else "ahead"
    for code, state in _STATES.items():
        if code in codes:
            return state
    if "multiple-heads" in codes:
        return "conflict"
    if pending:
        return "pending"
    return "drift" if look.drift else "current"


def _problem(look: Look, findings: Findings, state: str, reasons: Sequence[Reason]) -> str | None:
    parts = [reason.message for reason in reasons]
    if state == "drift" and look.drift:
        parts.append(f"{len(look.drift)} differences from its revisions: {look.drift[0]}")
    if findings.stamped:
        stamped = ", ".join(sorted(findings.stamped))
        parts.append(f"stamped, and not compared with the schema since: {stamped}")
    if findings.unverified and look.drift is None and not findings.reasons:
        parts.append(
            f"not run by Headway, and never compared with the schema: "
            f"{', '.join(sorted(findings.unverified))} (headway migrate drift --env "
            f"{look.environment} compares)"
        )
    if look.is_read_only:
        parts.append("it is read-only (a standby, or default_transaction_read_only)")
    if look.problem:
        parts.append(look.problem)
    return "; ".join(parts) or None


def _in_words(last: LastRun | None) -> str | None:
    if last is None:
        return None
    failed = " failed" if last.outcome == "failed" else ""
    when = f"{last.finished_at:%Y-%m-%d %H:%M}"
    return f"{last.direction} {last.revision}{failed} {when} {last.seconds:.1f}s"
