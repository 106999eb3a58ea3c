"""What every suite is made of."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite

# In SQL, `{batch}` stands for the table. A query with a JOIN gives it an alias (`{batch} AS v`):
# Postgres 15 insists. In any other it brings its own; to give it another, wrap it:
# `(SELECT * FROM {batch}) AS v`.

# A suite's parameter: the time after which a row's timestamp lies in the future.
LATEST = "latest"


@dataclass(frozen=True, slots=True)
class TableSuite:
    """What must hold of one table.

    ``expected`` gets Great Expectations' module of expectations and returns those of the table.
    ``owner_column`` says whose a row is; broken rows are then known by their owner. A check that
    is given in SQL selects that column, or the row's ``id``.
    """

    table: str
    expected: Callable[[Any], list[Any]]
    owner_column: str | None = None

    def build(self) -> ExpectationSuite:
        """The suite as Great Expectations runs it."""
        gx = library()
        expectations = self.expected(gx.expectations)
        suite: ExpectationSuite = gx.ExpectationSuite(self.table, expectations=expectations)
        return suite


@lru_cache(maxsize=1)
def library() -> Any:
    """The package `great_expectations`, imported at the first use: it takes seconds.

    Untyped, because it does not export the names that it documents.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "module 'sre_", DeprecationWarning)
        import great_expectations
    # It sets a level of its own, and reports each temporary folder that it thinks of.
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
    return great_expectations


def because(owner: str, reason: str) -> dict[str, str]:
    """Who answers for an expectation, and why it holds: an expectation's `meta`.

    The reason is the sentence that a person reads, and is unique within its suite.
    """
    return {"owner": owner, "reason": reason}


def not_finite(column: str) -> str:
    """SQL for the rows whose ``column`` is NaN or infinite."""
    # The name comes from a suite, never from outside.
    return f"SELECT id FROM {{batch}} WHERE {column} IN ('NaN', 'Infinity', '-Infinity')"  # noqa: S608
