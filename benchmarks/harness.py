"""Times two things side by side: interleaved repeated pairs, and the median of each.

Interleaving makes both see the same machine: a slow minute slows both. The ratio is the median
of the pairs' ratios, so one bad pair does not decide.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

Timed = Callable[[], float]
"""Does the work once and returns its seconds; what it prepares is not counted."""


class Unavailable(Exception):
    """A case cannot run here; says why."""


@dataclass(frozen=True)
class Result:
    """One case: medians in seconds over the pairs, and the bar that the ratio must keep.

    Some have a limit in seconds for ours instead, whatever the reference takes. What ours may cost
    once, however much there is to do (``fixed_seconds``), does not count in the ratio.
    """

    case: str
    ours_seconds: float
    reference_seconds: float
    ratio: float
    bar: float | None
    pairs: int
    limit_seconds: float | None = None
    fixed_seconds: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def is_within_bar(self) -> bool:
        """True if the ratio keeps the bar and ours the limit, where there is one."""
        is_within_limit = self.limit_seconds is None or self.ours_seconds <= self.limit_seconds
        return is_within_limit and (self.bar is None or self.ratio <= self.bar)

    def as_document(self) -> dict[str, Any]:
        """One flat JSON object; the facts come last."""
        document = asdict(self)
        facts = document.pop("facts")
        rounded = {
            name: round(value, 6) if isinstance(value, float) else value
            for name, value in document.items()
        }
        return {**rounded, "is_within_bar": self.is_within_bar, **facts}


def compare(
    case: str,
    ours: Timed,
    reference: Timed,
    *,
    pairs: int = 7,
    bar: float | None = None,
    limit_seconds: float | None = None,
    fixed_seconds: float = 0.0,
    **facts: Any,
) -> Result:
    """Run both once to warm up, then in pairs, each pair in the other order than the last."""
    ours(), reference()
    times = [_pair(ours, reference, is_ours_first=number % 2 == 0) for number in range(pairs)]
    return Result(
        case=case,
        ours_seconds=statistics.median(mine for mine, _ in times),
        reference_seconds=statistics.median(other for _, other in times),
        ratio=statistics.median((mine - fixed_seconds) / other for mine, other in times),
        bar=bar,
        pairs=pairs,
        limit_seconds=limit_seconds,
        fixed_seconds=fixed_seconds,
        facts=facts,
    )


def _pair(ours: Timed, reference: Timed, *, is_ours_first: bool) -> tuple[float, float]:
    if is_ours_first:
        mine = ours()
        return mine, reference()
    other = reference()
    return ours(), other
