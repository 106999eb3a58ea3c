"""The suite of a batch: what would make all of it suspect, judged by a few figures of it."""

from __future__ import annotations

from sqlalchemy import Connection

from tasks.database import load_queries

QUERIES = load_queries(__package__)
SUITE = "incoming_event"


def screen(tx: Connection) -> tuple[str | None, tuple[str, ...]]:
    """Why the events in `incoming_row` must stay out (None: they may go on), and the warnings.

    A check that could not run keeps them out like one that failed: it says nothing for them.
    """
    profile = [dict(row) for row in tx.execute(QUERIES["profile_incoming"]).mappings()]
    if not profile:
        return None, ()
    from tasks.validation import validate_rows

    summary = validate_rows(SUITE, profile)
    problems = [(each.severity, each.reason or each.expectation) for each in summary.problems]
    critical = [reason for severity, reason in problems if severity == "critical"]
    warnings = tuple(reason for severity, reason in problems if severity != "critical")
    return ("; ".join(critical) or None), warnings
