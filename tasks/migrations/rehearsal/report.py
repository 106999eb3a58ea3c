"""Shows a rehearsal: a line for each statement, and how each revision came back. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.markdown import table
from tasks.migrations.rehearsal.model import MeasuredStatement, Rehearsal, RevisionEffect, RoundTrip

_SHOWN = 90
_WORDS = {
    "AccessExclusiveLock": "ACCESS EXCLUSIVE",
    "ExclusiveLock": "EXCLUSIVE",
    "ShareRowExclusiveLock": "SHARE ROW EXCLUSIVE",
    "ShareLock": "SHARE",
    "ShareUpdateExclusiveLock": "SHARE UPDATE EXCLUSIVE",
    "RowExclusiveLock": "ROW EXCLUSIVE",
    "RowShareLock": "ROW SHARE",
    "AccessShareLock": "ACCESS SHARE",
}


def report(rehearsal: Rehearsal) -> str:
    """Markdown: what each statement took, and for each revision its locks and its way back."""
    return "\n\n".join(_parts(rehearsal))


def _parts(rehearsal: Rehearsal) -> Iterator[str]:
    rows = sum(rehearsal.row_counts.values())
    yield (
        f"Rehearsed on a copy of {rehearsal.environment} "
        f"({rehearsal.data}, {rows:,} rows) in {rehearsal.seconds:.1f} s."
    )
    for revision in rehearsal.revisions:
        effect = rehearsal.effect(revision, rehearsal.direction)
        trip = rehearsal.round_trip(revision)
        yield f"### {rehearsal.direction} {revision}"
        statements = [
            each
            for each in rehearsal.statements
            if (each.revision, each.direction) == (revision, rehearsal.direction)
        ]
        if statements:
            yield table(
                ("#", "statement", "ms", "strongest lock", "rewrite", "rows scanned"),
                [_row(each) for each in statements],
            )
        yield "\n".join(f"- {line}" for line in _lines(effect, trip))
    if rehearsal.failure:
        failure = rehearsal.failure
        yield f"**Failed** ({failure.pass_name}, {failure.revision}): {failure.message}"
    if rehearsal.nondeterministic:
        yield f"Came out otherwise the second time: {', '.join(rehearsal.nondeterministic)}"


def _row(statement: MeasuredStatement) -> tuple[str, ...]:
    strongest = statement.strongest_lock
    text = " ".join(statement.sql.split())
    return (
        str(statement.position),
        text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…",
        f"{statement.milliseconds:.1f}",
        f"{_WORDS[strongest[1]]} {strongest[0]}" if strongest else "",
        ", ".join(statement.rewrites) or "no",
        f"{sum(statement.rows_scanned.values()):,}",
    )


def _lines(effect: RevisionEffect | None, trip: RoundTrip | None) -> Iterator[str]:
    if effect is None:
        yield "not run"
    else:
        held = ", ".join(f"{name} {ms:.0f} ms" for name, ms in sorted(effect.lock_ms.items()))
        yield f"others wait for: {held or 'nothing'}"
        gone = [*effect.dropped_tables, *effect.dropped_columns, *effect.dropped_sequences]
        if gone:
            yield f"takes away: {', '.join('.'.join(name) for name in gone)}"
    yield f"there and back: {_way_back(trip)}"


def _way_back(trip: RoundTrip | None) -> str:
    if trip is None or trip.lost is None or trip.schema_differences is None:
        return "not tried"
    if trip.is_lossless:
        return "schema and checksums equal"
    return "differs: " + ", ".join((*trip.schema_differences, *trip.lost))
