"""Run the suites over the experiment tables, and sort what they find by whom it concerns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tasks.experiments.quality.model import SuiteFindings

if TYPE_CHECKING:
    from tasks.validation import ExpectationOutcome, ValidationSummary

SUITES = ("ab_experiments", "ab_variants", "ab_assignments", "ab_metrics")


def run_suites(url: str) -> SuiteFindings:
    """Validate the experiment tables of the database; once for all experiments of a run.

    It reads committed rows on a connection of its own.
    """
    from tasks.validation import validate_tables

    return sort_findings(validate_tables(url, SUITES))


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
