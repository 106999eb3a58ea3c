"""What the library says of its expectations, as outcomes of ours.

A check that cannot run (a missing table or column, a statement that takes too long) is told apart
from one that ran and failed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from tasks.validation.summary import ExpectationOutcome, Outcome, ValidationSummary

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite
    from great_expectations.core import ExpectationValidationResult

_MESSAGE_LENGTH = 500


def outcome_of(
    result: ExpectationValidationResult,
    secrets: Sequence[str],
    *,
    owners: tuple[str, ...] | None,
) -> ExpectationOutcome:
    """One result; ``secrets`` are cut from its message, ``owners`` are those whose rows failed."""
    config: Any = result.expectation_config
    errors = [] if result.success else _errors(result.exception_info or {})
    if errors:
        message = _first_line(errors[0], secrets)
        return _described(config, Outcome.COULD_NOT_BE_CHECKED, message=message)
    figures = result.result
    observed = _aggregate(figures.get("observed_value"))
    is_sql = config.type == "unexpected_rows_expectation"
    return _described(
        config,
        Outcome.PASSED if result.success else Outcome.FAILED,
        observed_value=observed,
        unexpected_count=observed if is_sql else figures.get("unexpected_count"),
        unexpected_percent=figures.get("unexpected_percent"),
        owners=owners,
    )


def _described(config: Any, outcome: Outcome, **figures: Any) -> ExpectationOutcome:
    kwargs, meta = config.kwargs, config.meta or {}
    named = [kwargs.get(key) for key in ("column", "column_A", "column_B")]
    columns = [name for name in [*named, *kwargs.get("column_list", [])] if name]
    return ExpectationOutcome(
        expectation=config.type,
        column=", ".join(columns) or None,
        outcome=outcome,
        severity=str(getattr(config.severity, "value", config.severity)),
        owner=meta.get("owner"),
        reason=meta.get("reason"),
        **figures,
    )


def summary_of(
    suite: ExpectationSuite, table: str, found: Iterable[ExpectationOutcome]
) -> ValidationSummary:
    """Outcomes of a suite, in its order: the library gives the broken ones first."""
    place = {(e.meta or {}).get("reason"): i for i, e in enumerate(suite.expectations)}
    ordered = tuple(sorted(found, key=lambda outcome: place.get(outcome.reason, len(place))))
    return ValidationSummary(
        suite=suite.name, table=table, outcome=_worst(ordered), expectations=ordered
    )


def unchecked(
    suite: ExpectationSuite, table: str, error: Exception, secrets: Sequence[str] = ()
) -> ValidationSummary:
    """The summary where not one expectation could be checked."""
    message = _first_line(str(error), secrets)
    outcome = Outcome.COULD_NOT_BE_CHECKED
    return summary_of(
        suite,
        table,
        (_described(each.configuration, outcome, message=message) for each in suite.expectations),
    )


def _worst(found: Sequence[ExpectationOutcome]) -> Outcome:
    outcomes = {expectation.outcome for expectation in found}
    for outcome in (Outcome.FAILED, Outcome.COULD_NOT_BE_CHECKED):
        if outcome in outcomes:
            return outcome
    return Outcome.PASSED


def _errors(info: Mapping[str, Any]) -> list[str]:
    """Messages of the exceptions; they come flat, or one for each metric that broke."""
    entries = [info] if "raised_exception" in info else list(info.values())
    return [str(e.get("exception_message")) for e in entries if e.get("raised_exception")]


def _first_line(text: str, secrets: Sequence[str]) -> str:
    """The first line of an error: what follows may hold SQL, parameters and rows."""
    line = text.strip().partition("\n")[0][:_MESSAGE_LENGTH]
    for secret in secrets:
        line = line.replace(secret, "***")
    return line


def _aggregate(value: Any) -> JsonValue:
    """The value as JSON if it is a figure (or named figures); None if it may show rows."""
    if hasattr(value, "item"):  # NumPy's scalars are not JSON
        value = value.item()
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): _figures(item) for name, item in value.items()}
    return None


def _figures(value: Any) -> JsonValue:
    return [_aggregate(item) for item in value] if isinstance(value, list) else _aggregate(value)
