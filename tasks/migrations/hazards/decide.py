"""Decides by a rehearsal's figures what the SQL alone could not tell. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from tasks.migrations.hazards import rules
from tasks.migrations.hazards.model import Hazard, Measured, Outcome
from tasks.migrations.hazards.registry import DecidedBy, hazards
from tasks.migrations.hazards.sql import shorten, split_sent

__all__ = ["DEFAULT_BUDGET_MS", "decide", "rules"]
# As long as a statement may wait for its lock: so long, others have to wait anyway.
DEFAULT_BUDGET_MS = 1_000.0
Data = Literal["full", "sample", "none"]


def decide(
    found: Iterable[Hazard],
    measured: Sequence[Measured],
    *,
    budget_ms: float | None = None,
    data: Data = "full",
) -> tuple[Hazard, ...]:
    """The hazards with those confirmed or dismissed that the figures of a rehearsal decide.

    ``data`` says what the rehearsed copy held: with a sample, figures can confirm but short times
    dismiss nothing; without rows nothing is decided. What was not measured stays open.
    """
    budget = DEFAULT_BUDGET_MS if budget_ms is None else budget_ms
    return tuple(_decide(each, measured, budget, data) for each in found)


def _decide(hazard: Hazard, measured: Sequence[Measured], budget: float, data: Data) -> Hazard:
    if hazard.outcome != "open" or not hazard.needs_context or data == "none":
        return hazard
    decided_by = hazards.get(hazard.code).decided_by
    if decided_by == "success":
        return _by_success(hazard, measured, data)
    seen = _figures(hazard, measured, decided_by)
    if not seen or any(each.sqlstate for each in seen):  # a failure is quick, and says nothing
        return hazard
    outcome = _outcome(seen, budget, data, decided_by)
    return hazard.model_copy(update={"outcome": outcome, "evidence": _words(seen, budget)})


def _by_success(hazard: Hazard, measured: Sequence[Measured], data: Data) -> Hazard:
    seen = [m for m in measured if (m.revision, m.direction) == (hazard.revision, hazard.direction)]
    failed = [each.sqlstate for each in seen if each.sqlstate]
    if failed:
        update = {"outcome": "confirmed", "evidence": f"rehearsed: it failed with {failed[0]}"}
        return hazard.model_copy(update=update)
    if data == "full" and any(_is_of(each, hazard) for each in seen):
        worked = "rehearsed: it succeeded with every row there is"
        return hazard.model_copy(update={"outcome": "dismissed", "evidence": worked})
    return hazard


def _figures(
    hazard: Hazard, measured: Sequence[Measured], decided_by: DecidedBy | None
) -> list[Measured]:
    of_revision = [
        each
        for each in measured
        if (each.revision, each.direction) == (hazard.revision, hazard.direction)
    ]
    if decided_by == "values":
        return []
    if decided_by == "revision-time":
        return of_revision
    same = [each for each in of_revision if _is_of(each, hazard)]
    same = same or [each for each in of_revision if _is_at(each, hazard)]
    return sorted(same, key=lambda each: (bool(each.sqlstate), each.milliseconds))[-1:]


def _is_of(measured: Measured, hazard: Hazard) -> bool:
    written = hazard.statement.replace("%%", "%")
    return written in (shorten(each) for each in split_sent(measured.sql))


def _is_at(measured: Measured, hazard: Hazard) -> bool:
    """The same place and beginning: with parameters, the texts are not the same."""
    begins = (each.lower().split()[:2] for each in (measured.sql, hazard.statement))
    return measured.position == hazard.position and next(begins) == next(begins)


def _outcome(
    seen: Sequence[Measured], budget: float, data: Data, decided_by: DecidedBy | None
) -> Outcome:
    is_catalogue_only = not any(each.rewrites or any(each.rows_scanned.values()) for each in seen)
    if decided_by == "rewrite" and is_catalogue_only:
        return "dismissed"
    if sum(each.milliseconds for each in seen) > budget:
        return "confirmed"
    return "dismissed" if data == "full" else "open"


def _words(seen: Sequence[Measured], budget: float) -> str:
    rewritten = sorted({name for each in seen for name in each.rewrites})
    scanned = sum(sum(each.rows_scanned.values()) for each in seen)
    return (
        f"rehearsed: {sum(each.milliseconds for each in seen):.0f} ms (budget {budget:.0f} ms), "
        f"{scanned} rows scanned, {', '.join(rewritten) or 'nothing'} written anew"
    )
