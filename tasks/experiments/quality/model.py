"""The outcome of one check of an experiment's data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

Outcome = Literal["passed", "failed", "unknown"]
Figure = float | int | str | None


class QualityCheck(BaseModel):
    """How one check of one experiment ended.

    Anything but "passed" closes the gate: there is no winner while it lasts. "unknown" is a check
    whose figures could not be gathered or are too few to tell, which is never the same as fine.
    The message says what was seen and where, and what to do; a check that passed may carry one too
    (a warning that closes nothing). ``figures`` hold what the outcome rests on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    outcome: Outcome
    message: str = ""
    figures: dict[str, Figure] = {}


class SuiteFindings(BaseModel):
    """What the suites over the experiment tables found, sorted by whom it concerns.

    ``failed_in`` maps an experiment's id to the rules that its rows broke: they close its gate and
    no other. ``failed`` are broken rules whose rows belong to nobody in particular, ``unknown``
    those that could not be checked: both concern every experiment.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    failed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    failed_in: Mapping[str, tuple[str, ...]] = {}


def closing(checks: Iterable[QualityCheck]) -> tuple[QualityCheck, ...]:
    """The checks that close the gate: those that failed first, then those that cannot tell."""
    closed = [check for check in checks if check.outcome != "passed"]
    return tuple(sorted(closed, key=lambda check: check.outcome != "failed"))
