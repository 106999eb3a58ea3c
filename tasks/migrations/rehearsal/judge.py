"""Is a plan, as rehearsed, fit for its environment? Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tasks.decisions import Verdict, rule
from tasks.errors import Reason
from tasks.migrations.rehearsal.model import (
    Failure,
    Frozen,
    Rehearsal,
    RevisionEffect,
    RoundTrip,
)

PROVEN, REFUSED = "proven", "refused"
_LISTED = 5
_STATEMENT = 200


class RehearsalEvidence(Frozen):
    """What a rehearsal found, and how long the environment lets a lock be held."""

    rehearsal: Rehearsal
    max_lock_seconds: float | None = None


@rule("migration-rehearsal", version=1)
def judge_rehearsal(evidence: RehearsalEvidence) -> Verdict:
    """Proven, or refused with the reasons; warnings and figures are in the details."""
    reasons = tuple(_reasons(evidence))
    return Verdict(
        verdict=REFUSED if reasons else PROVEN,
        reasons=reasons,
        details={
            "data": evidence.rehearsal.data,
            "rows": sum(evidence.rehearsal.row_counts.values()),
            "warnings": list(_warnings(evidence.rehearsal)),
            "revisions": [_figures(evidence.rehearsal, each) for each in _planned(evidence)],
            "seconds": round(evidence.rehearsal.seconds, 3),
        },
    )


def _planned(evidence: RehearsalEvidence) -> Iterator[str]:
    yield from evidence.rehearsal.revisions


def _reasons(evidence: RehearsalEvidence) -> Iterator[Reason]:
    rehearsal = evidence.rehearsal
    if rehearsal.failure is not None:
        yield from _failed(rehearsal, rehearsal.failure)
    if evidence.max_lock_seconds is not None:
        for effect in rehearsal.effects:
            if effect.direction == rehearsal.direction:
                yield from _over_budget(effect, evidence.max_lock_seconds, rehearsal)
    for trip in rehearsal.round_trips:
        yield from _did_not_return(trip, rehearsal)


def _failed(rehearsal: Rehearsal, failure: Failure) -> Iterator[Reason]:
    trip = rehearsal.round_trip(failure.revision)
    is_back = failure.direction == "downgrade" and rehearsal.direction == "upgrade"
    if is_back and trip is not None and trip.irreversible:
        return
    statement = f" at `{_short(failure.statement)}`" if failure.statement else ""
    sqlstate = f" (SQLSTATE {failure.sqlstate})" if failure.sqlstate else ""
    what = f"{failure.direction} of {failure.revision} fails{statement}{sqlstate}"
    if is_back:
        yield Reason(
            "irreversible-downgrade",
            f"the {what} on a copy of {rehearsal.environment!r}: {failure.message}. Repair the "
            'downgrade, or say in the revision why there is none (irreversible = "…")',
        )
        return
    yield Reason(
        "rehearsal-failed",
        f"the {what} on a copy of {rehearsal.environment!r} ({failure.pass_name}): "
        f"{failure.message}. Repair the revision, or the rows that it meets, and plan again",
    )


def _over_budget(
    effect: RevisionEffect, budget_seconds: float, rehearsal: Rehearsal
) -> Iterator[Reason]:
    for relation, milliseconds in sorted(effect.lock_ms.items()):
        if milliseconds > budget_seconds * 1000:
            yield Reason(
                "lock-budget-exceeded",
                f"{effect.revision} would hold {relation} for {milliseconds:.0f} ms"
                f"{_basis(rehearsal)}, and {rehearsal.environment!r} allows "
                f"{budget_seconds * 1000:.0f} ms (max_lock_seconds). Split the revision (NOT VALID "
                "and VALIDATE, CONCURRENTLY, batches), or raise the limit for a maintenance window",
            )


def _did_not_return(trip: RoundTrip, rehearsal: Rehearsal) -> Iterator[Reason]:
    if trip.irreversible:
        return
    if trip.is_downgrade_empty:
        yield Reason(
            "irreversible-downgrade",
            f"the downgrade of {trip.revision} does nothing. Write it, or say in the revision why "
            'there is none (irreversible = "…")',
        )
        return
    if trip.schema_differences:
        yield Reason(
            "round-trip-schema-differs",
            f"{_way(rehearsal)} {trip.revision} leave another schema: "
            f"{_listed(trip.schema_differences)}. Let the downgrade undo just what the upgrade "
            'does, or declare it (irreversible = "…")',
        )
    if trip.lost and not trip.lossy:
        yield Reason(
            "round-trip-loses-data",
            f"{_way(rehearsal)} {trip.revision} lose values of {_listed(trip.lost)}. Let the "
            'revision keep them, or say in it why they may go (lossy = "…")',
        )


def _way(rehearsal: Rehearsal) -> str:
    there, back = ("upgrade", "downgrade") if rehearsal.direction == "upgrade" else (
        "downgrade",
        "upgrade",
    )  # fmt: skip
    return f"{there} and {back} of"


def _warnings(rehearsal: Rehearsal) -> Iterator[str]:
    if rehearsal.nondeterministic:
        yield (
            f"nondeterministic: {_listed(rehearsal.nondeterministic)} came out otherwise the "
            "second time (a clock, chance, or the surroundings)"
        )
    if rehearsal.data == "sample":
        yield f"times are estimates, predicted on a sample of {rehearsal.sample_rows} rows a table"
    if rehearsal.data == "none":
        yield "times are estimates: predicted without rows, and no value could get lost"
    for trip in rehearsal.round_trips:
        if trip.lossy and trip.lost:
            yield f"{trip.revision} loses values of {_listed(trip.lost)}, as declared: {trip.lossy}"
        if trip.irreversible:
            yield f"{trip.revision} cannot be undone, as declared: {trip.irreversible}"
        elif trip.lost is None:
            yield f"whether {trip.revision} can be undone is unknown"
    yield from rehearsal.notes


def _figures(rehearsal: Rehearsal, revision: str) -> dict[str, Any]:
    statements = [
        each
        for each in rehearsal.statements
        if (each.revision, each.direction) == (revision, rehearsal.direction)
    ]
    effect = rehearsal.effect(revision, rehearsal.direction)
    return {
        "revision": revision,
        "milliseconds": round(effect.milliseconds, 3) if effect else None,
        "lock_ms": {name: round(ms, 3) for name, ms in effect.lock_ms.items()} if effect else None,
        "rewrites": sorted({name for each in statements for name in each.rewrites}),
        "rows_scanned": sum(sum(each.rows_scanned.values()) for each in statements),
        "is_lossless": rehearsal.is_lossless(revision),
    }


def _basis(rehearsal: Rehearsal) -> str:
    if rehearsal.data == "full":
        return ""
    return f" (predicted on {'a sample' if rehearsal.data == 'sample' else 'empty tables'})"


def _listed(names: tuple[str, ...]) -> str:
    more = len(names) - _LISTED
    listed = ", ".join(names[:_LISTED])
    return f"{listed} and {more} more" if more > 0 else listed


def _short(statement: str) -> str:
    text = " ".join(statement.split())
    return text if len(text) <= _STATEMENT else f"{text[: _STATEMENT - 1]}…"
