"""Evidence in means: is the mean beyond the limit, and beyond the control's?"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, sqrt

from tasks.rollouts.guard.mixtures import mean_margin
from tasks.rollouts.guard.model import Findings, Question, has_a_say
from tasks.rollouts.health.measured import Measured, Reading

RHO = 100.0
"""Weight of the normal mixture: its bounds are tightest at some 1,500 values."""

LEAST_COUNT = 30
"""Below this many values their standard deviation says too little for a bound."""

_ROUNDED = 1e-12  # sums of squares are rounded: less than this share of them is nothing


@dataclass(frozen=True)
class Sample:
    """Count, mean and sum of squared deviations of measured values."""

    count: int
    mean: float
    m2: float

    @property
    def error_squared(self) -> float:
        """The squared standard error of the mean."""
        return self.m2 / (self.count - 1) / self.count

    def __add__(self, other: Sample) -> Sample:
        """Both together. Source: Chan, Golub and LeVeque (1983)."""
        count = self.count + other.count
        distance = other.mean - self.mean
        return Sample(
            count,
            self.mean + distance * other.count / count,
            self.m2 + other.m2 + distance * distance * self.count / count * other.count,
        )


def sample(measured: Measured | None) -> Sample | None:
    """What was measured, if its squares were too and there are two values at least; else None."""
    if measured is None or measured.source_error is not None or measured.square_sum is None:
        return None
    count, total, squares = measured.sample_count, measured.value_sum, measured.square_sum
    if count < 2:
        return None
    m2 = squares - total * (total / count)
    if m2 <= squares * _ROUNDED:
        m2 = 0.0
    return Sample(count, total / count, m2) if isfinite(m2) else None


def find(canary: Sample, reading: Reading, question: Question) -> Findings:
    """Bound the mean, and its difference to the control's where that has a say.

    A mean is harmful if all it may be is beyond the limit, and beyond the control's mean; where the
    control is as bad, or both together are beyond the limit, that is shared (but not where the
    version is shown to be better than that).
    """
    lower, upper = _bounds(canary, canary.count, question.alpha)
    best, worst = (lower, upper) if question.is_low_good else (upper, lower)
    is_beyond = not question.passes(best)
    evidence = {"lower": lower, "upper": upper}
    words = f"it is {lower:.6g} to {upper:.6g}, whenever one looks"
    control = sample(reading.control)
    if (
        control is None
        or not question.is_possible(control.mean)
        or not has_a_say(control.count, canary.count)
    ):
        return Findings(
            harm=words if is_beyond else None,
            shared=None,
            is_healthy=question.passes(worst),
            evidence=evidence,
        )
    least, most = _difference(canary, control, question.alpha)
    is_worse = least > 0 if question.is_low_good else most < 0
    both = _bounds(canary + control, canary.count + control.count, question.shared_alpha)
    are_beyond = not question.passes(both[0] if question.is_low_good else both[1])
    mild = _bounds(canary, canary.count, question.shared_alpha)
    is_fine = question.passes(mild[1] if question.is_low_good else mild[0])
    evidence |= {"difference_lower": least, "difference_upper": most}
    against = f"its difference to the control's {control.mean:.6g} {least:.4g} to {most:.4g}"
    is_shared = is_beyond or (are_beyond and not is_fine)
    return Findings(
        harm=f"{words}, {against}" if is_beyond and is_worse else None,
        shared=f"{words}, {against}, both together {both[0]:.6g} to {both[1]:.6g}"
        if is_shared
        else None,
        is_healthy=question.passes(worst),
        evidence=evidence,
    )


def _bounds(found: Sample, count: int, alpha: float) -> tuple[float, float]:
    half = mean_margin(count, alpha, RHO) * sqrt(found.error_squared)
    return found.mean - half, found.mean + half


def _difference(canary: Sample, control: Sample, alpha: float) -> tuple[float, float]:
    # At a constant share both grow alike, so the version's count tells how far the difference is.
    error = sqrt(canary.error_squared + control.error_squared)
    half = mean_margin(canary.count, alpha, RHO) * error
    difference = canary.mean - control.mean
    return difference - half, difference + half
