"""What many courses come to: shares with their standard error, and medians."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, sqrt
from statistics import median

from pydantic import BaseModel, ConfigDict

from tasks.rollouts.guard.binomial import exact_interval

_Z = 1.959964


class Share(BaseModel):
    """A share of the runs, its standard error, and the exact 95 % interval (0 of 100 is no 0)."""

    model_config = ConfigDict(frozen=True)

    count: int
    runs: int
    share: float
    standard_error: float
    lower: float
    upper: float

    def __str__(self) -> str:
        return (
            f"{100 * self.share:.3g} % ± {100 * self.standard_error:.2g} ({self.count} of "
            f"{self.runs}; 95 %: {100 * self.lower:.3g} to {100 * self.upper:.3g} %)"
        )


class Median(BaseModel):
    """A median of hours over some runs, with its 95 % interval by the order of the runs."""

    model_config = ConfigDict(frozen=True)

    hours: float
    lower: float
    upper: float
    runs: int

    def __str__(self) -> str:
        return f"{self.hours:g} h (95 %: {self.lower:g} to {self.upper:g} h; {self.runs} runs)"


def share(count: int, runs: int) -> Share:
    """How often it happened; raise ZeroDivisionError without runs."""
    part = count / runs
    lower, upper = exact_interval(count, runs)
    error = sqrt(part * (1 - part) / runs)
    return Share(count=count, runs=runs, share=part, standard_error=error, lower=lower, upper=upper)


def median_of(hours: Sequence[float]) -> Median | None:
    """The median; None of nothing."""
    if not hours:
        return None
    ranked, size = sorted(hours), len(hours)
    half = _Z * sqrt(size) / 2
    first, last = max(floor(size / 2 - half) - 1, 0), min(ceil(size / 2 + half), size - 1)
    return Median(hours=median(ranked), lower=ranked[first], upper=ranked[last], runs=size)
