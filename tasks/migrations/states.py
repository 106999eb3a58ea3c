"""One word for how a database stands to its revisions, and the problem in words. Pure."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from tasks.errors import Reason
from tasks.migrations import conflicts, graph, ways_out
from tasks.migrations.conflicts import Findings
from tasks.migrations.facts import DatabaseEvidence

State = Literal[
    "ok", "pending", "blocked", "broken", "missing", "ahead", "foreign", "elsewhere", "edited",
    "spliced", "stamped", "unreachable",
]  # fmt: skip


class DatabaseState(BaseModel):
    """The word, the problem, and the sets behind it.

    `ok`, `pending` (revisions to apply), `blocked` (there are several heads), `broken` (the files
    contradict each other), `missing` (an applied file is gone), `ahead` (a newer release migrated
    it), `foreign` (at a revision nobody knows), `elsewhere` (its version table is in another
    schema), `edited`, `spliced`, `stamped` (said to be applied, never compared), or `unreachable`.
    """

    model_config = ConfigDict(frozen=True)

    state: State
    problem: str | None = None
    reasons: tuple[Reason, ...] = ()
    current: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    applied: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    stamped: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()
    cosmetic: tuple[str, ...] = ()


def of_database(evidence: DatabaseEvidence) -> DatabaseState:
    """How the database stands to the files; never raises, whatever is wrong with either."""
    found = conflicts.find(evidence)
    heads = graph.heads(evidence.scripts)
    pending = () if found.is_broken else _pending(evidence, found)
    state, reasons = _state(evidence, found, pending)
    return DatabaseState(
        state=state,
        problem="; ".join(reason.message for reason in reasons) or None,
        reasons=reasons,
        current=evidence.current,
        heads=tuple(script.revision for script in heads),
        applied=tuple(s.revision for s in graph.upward(found.scripts, found.applied)),
        pending=pending,
        stamped=tuple(sorted(found.stamped)),
        unverified=tuple(sorted(found.unverified)),
        cosmetic=tuple(sorted(found.cosmetic)),
    )


def _pending(evidence: DatabaseEvidence, found: Findings) -> tuple[str, ...]:
    every = {script.revision for script in evidence.scripts}
    return tuple(s.revision for s in graph.upward(found.scripts, every - found.applied))


def _state(
    evidence: DatabaseEvidence, found: Findings, pending: tuple[str, ...]
) -> tuple[State, tuple[Reason, ...]]:
    worst: tuple[tuple[State, object], ...] = (
        ("broken", found.is_broken),
        ("missing", found.missing),
        ("foreign", found.foreign),
        ("ahead", found.ahead),
        ("edited", found.edited),
        ("spliced", found.spliced),
        ("elsewhere", found.reasons),
    )
    for state, is_so in worst:
        if is_so:
            return state, found.reasons
    heads = graph.heads(evidence.scripts)
    if pending and len(heads) > 1:
        return "blocked", (ways_out.multiple_heads(evidence.environment, heads),)
    if found.stamped:
        return "stamped", (ways_out.stamped(evidence, sorted(found.stamped)),)
    return ("pending" if pending else "ok"), ()
