"""Ranks: does the treatment tend to have larger values, whatever their distribution?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.experiments.statistics.comparison import Alternative

_SIDES: dict[Alternative, Literal["two-sided", "greater", "less"]] = {
    "two-sided": "two-sided",
    "larger": "greater",
    "smaller": "less",
}


@dataclass(frozen=True, slots=True)
class RankTest:
    """U of the treatment; None where an arm is empty."""

    u: float | None = None
    p_value: float | None = None
    superiority: float | None = None  # P(treatment > control) + P(equal) / 2


def mann_whitney(
    control: Sequence[float],
    treatment: Sequence[float],
    alternative: Alternative = "two-sided",
    method: Literal["auto", "asymptotic", "exact"] = "auto",
    *,
    continuity: bool = True,
) -> RankTest:
    """Mann and Whitney's U test (1947); by the normal limit it is corrected for ties."""
    from scipy import stats  # slow to import, and few metrics are compared by ranks

    if len(control) == 0 or len(treatment) == 0:
        return RankTest()
    found = stats.mannwhitneyu(
        treatment,
        control,
        use_continuity=continuity,
        alternative=_SIDES[alternative],
        method=method,
    )
    u = float(found.statistic)
    # All values equal: the statistic has no variance and scipy no p-value.
    p_value = float(found.pvalue) if found.pvalue == found.pvalue else None
    return RankTest(u, p_value, u / (len(control) * len(treatment)))
