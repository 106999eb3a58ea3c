"""Run the suites over the experiment tables, and sort what they find by whom it concerns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row

from tasks import jsonb
from tasks.database import load_queries
from tasks.experiments.quality.model import SuiteFindings

if TYPE_CHECKING:
    from tasks.validation import ExpectationOutcome, ValidationSummary

SUITES = ("ab_experiments", "ab_variants", "ab_assignments", "ab_metrics")


EVENTS = "ab_metrics"
QUERIES = load_queries(__package__, "suites.sql")


def run_suites(tx: Connection, url: str) -> SuiteFindings:
    """Validate the experiment tables of the database at ``url``; once for all experiments of a run.

    Events are many, and hardly ever change: at every run those that came since the last one are
    validated, and all of those in which something was wrong; all events once a day. Committed rows
    are read, on a connection of its own; ``tx`` remembers what was found.
    """
    last = tx.execute(QUERIES["last_check"], {"suite": EVENTS}).first()
    found, events = _validate(url, None if last is None else _rows_to_look_at(last))
    is_full = last is None or last.is_due
    if not is_full and (found.failed or found.unknown):
        # Whose rows they are can be told, if at all, from the whole table.
        found, events = _validate(url, None)
        is_full = True
    tx.execute(
        QUERIES["record_check"],
        {"suite": EVENTS, "is_full": is_full, "findings": jsonb.dump(events)},
    )
    return found


def _validate(url: str, events: str | None) -> tuple[SuiteFindings, SuiteFindings]:
    """What was found in all tables, and in the events alone; of the given rows only."""
    from tasks.validation import validate_tables

    summaries = validate_tables(url, SUITES, rows={} if events is None else {EVENTS: events})
    mine = [summary for summary in summaries if summary.suite == EVENTS]
    return sort_findings(summaries), sort_findings(mine)


def _rows_to_look_at(last: Row[Any]) -> str | None:
    """The query of the events to validate; None for all of them."""
    if last.is_due:
        return None
    rows = QUERIES["recent_events"].text.partition("\n")[
        2
    ]  # Great Expectations stumbles on comments
    broken = ", ".join(f"'{experiment}'" for experiment in sorted(last.broken))
    # Both come from our own table: a time, and ids.
    return rows.replace("{since}", f"'{last.since.isoformat()}'").replace(
        "{broken}", broken or "NULL"
    )


def sort_findings(summaries: Iterable[ValidationSummary]) -> SuiteFindings:
    """Sort the critical failures, and all that could not be checked, by whom they concern."""
    failed: list[str] = []
    unknown: list[str] = []
    failed_in: dict[str, list[str]] = {}
    for summary in summaries:
        for problem in summary.problems:
            message = f"{summary.table}: {problem.reason or problem.expectation}"
            if problem.outcome == "could-not-be-checked":
                unknown.append(message)
            elif problem.severity == "critical":
                _file(problem, message, failed, failed_in)
    return SuiteFindings(
        failed=tuple(failed),
        unknown=tuple(unknown),
        failed_in={owner: tuple(messages) for owner, messages in failed_in.items()},
    )


def _file(
    problem: ExpectationOutcome, message: str, failed: list[str], failed_in: dict[str, list[str]]
) -> None:
    if not problem.owners:
        failed.append(message)
    for owner in problem.owners or ():
        failed_in.setdefault(owner, []).append(message)
