"""Sums over the ticks of a rollout, from which every window reads what was measured in it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from operator import add, sub
from typing import NamedTuple, TypeAlias

from tasks.rollouts.health.measured import Measured


class Sums(NamedTuple):
    """What one metric of one version adds up to; subtracting shorter sums leaves the rest."""

    total: float = 0.0
    squares: float = 0.0
    samples: int = 0
    without_squares: int = 0
    given_total: float = 0.0
    given_rows: int = 0
    broken_rows: int = 0

    def plus(self, other: Sums) -> Sums:
        """Both together."""
        return Sums(*map(add, self, other))

    def minus(self, other: Sums) -> Sums:
        """These without the other ones, which they hold."""
        return Sums(*map(sub, self, other))

    def as_measured(self) -> Measured:
        """The same as a source would say it."""
        return Measured(
            value_sum=self.total,
            square_sum=self.squares if self.samples and not self.without_squares else None,
            sample_count=self.samples,
            given_value=self.given_total / self.given_rows if self.given_rows else None,
            given_rows=self.given_rows,
            broken_rows=self.broken_rows,
        )


class Seen(NamedTuple):
    """What the hours before a tick showed of a check: of the version, and of its control if any."""

    canary: Sums
    control: Sums | None = None


Feed: TypeAlias = Callable[[int, float], Mapping[str, Seen]]
"""What the hours before a tick (1, 2, …) showed at a percentage of the traffic, by check."""


class Window:
    """Everything seen of one check so far, summed up to every tick."""

    def __init__(self) -> None:
        self._ends = [0.0]
        self._canary = [Sums()]
        self._control: list[Sums] | None = None

    def add(self, end: float, seen: Seen) -> None:
        """Take in what was seen up to an hour."""
        self._ends.append(end)
        self._canary.append(self._canary[-1].plus(seen.canary))
        if seen.control is not None or self._control is not None:
            self._control = self._control or [Sums()] * (len(self._ends) - 1)
            self._control.append(self._control[-1].plus(seen.control or Sums()))

    def since(self, start: float) -> tuple[Measured, Measured | None]:
        """Everything after an hour; a tick that began before it counts as a whole."""
        first = bisect_right(self._ends, start + 1e-9) - 1
        canary = self._canary[-1].minus(self._canary[first]).as_measured()
        if self._control is None:
            return canary, None
        return canary, self._control[-1].minus(self._control[first]).as_measured()
