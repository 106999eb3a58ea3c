"""One case for every registered step: the world it needs, and the arguments to call it with.

A step without a case fails `test_every_step_has_a_kill_case`. To add one: write a function that
prepares a fresh migrated database with real steps and returns the arguments of the step.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

Arrange = Callable[[], dict[str, Any]]
KILL_CASES: dict[str, Arrange] = {}
# Steps with an effect outside their transaction can also die between the effect and its record.
STEPS_WITH_EFFECT = {"apply-revision", "roll-back-revision"}


def kill_case(step: str) -> Callable[[Arrange], Arrange]:
    """Register the arrangement for a step, by its name."""

    def add(arrange: Arrange) -> Arrange:
        KILL_CASES[step] = arrange
        return arrange

    return add


@kill_case("purge-ledger-rows")
def _purge_ledger_rows() -> dict[str, Any]:
    return {"older_than": timedelta(days=90)}
