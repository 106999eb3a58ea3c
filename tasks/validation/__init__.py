"""Validate tables against their Great Expectations suites (`expectations/`)."""

from tasks.validation.running import validate_rows, validate_tables
from tasks.validation.summary import ExpectationOutcome, Outcome, ValidationSummary

__all__ = [
    "ExpectationOutcome",
    "Outcome",
    "ValidationSummary",
    "validate_rows",
    "validate_tables",
]
