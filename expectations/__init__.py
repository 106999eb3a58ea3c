"""Great Expectations suites as Python, one module per table or batch, and their registry.

Importing this package costs nothing: the library (3–5 s) is loaded when a suite is built.
Other packages add suites by entry point (`headway.suites`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from expectations import (
    ab_assignments,
    ab_experiments,
    ab_metrics,
    ab_variants,
    incoming_event,
)
from expectations.suite import TableSuite
from tasks.registry import Registry

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite

__all__ = ["TableSuite", "build", "suites"]

suites: Registry[TableSuite] = Registry("expectation suite", "headway.suites")
for _module in (ab_experiments, ab_variants, ab_assignments, ab_metrics, incoming_event):
    suites.register(_module.SUITE.table)(_module.SUITE)


def build(name: str) -> ExpectationSuite:
    """The suite registered under ``name``; UnknownName lists the known ones."""
    return suites.get(name).build()
