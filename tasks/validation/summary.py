"""What checks of a table came to: counts and reasons, no rows."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, JsonValue


class Outcome(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    COULD_NOT_BE_CHECKED = "could-not-be-checked"


class ExpectationOutcome(BaseModel):
    """One expectation: what was looked at, how it ended and how many rows were unexpected.

    ``observed_value`` is an aggregate (a count, a share, a time), never the content of a row.
    ``owners`` are those whose rows failed, where the suite says whose a row is; None where it does
    not, or it could not be told.
    """

    model_config = ConfigDict(frozen=True)

    expectation: str
    column: str | None
    outcome: Outcome
    severity: str
    owner: str | None
    reason: str | None
    observed_value: JsonValue = None
    unexpected_count: int | None = None
    unexpected_percent: float | None = None
    message: str | None = None
    owners: tuple[str, ...] | None = None


class ValidationSummary(BaseModel):
    """One suite on one table. It failed if any expectation did, else it passed if all did."""

    model_config = ConfigDict(frozen=True)

    suite: str
    table: str
    outcome: Outcome
    expectations: tuple[ExpectationOutcome, ...]

    @property
    def problems(self) -> tuple[ExpectationOutcome, ...]:
        """The expectations that did not pass."""
        return tuple(e for e in self.expectations if e.outcome is not Outcome.PASSED)

    @property
    def has_critical_failure(self) -> bool:
        """True if an expectation of severity `critical` failed."""
        return any(
            e.outcome is Outcome.FAILED and e.severity == "critical" for e in self.expectations
        )
