"""What a health sample can say at all: one rule for every way in."""

from __future__ import annotations

from math import isfinite

from tasks.rollouts.health.checks import Quantity, health_checks

LARGEST = 1e100
"""No measurement is larger, and the square of a larger one would leave the range of numbers."""

_ROUNDING = 1e-6


def impossible(
    metric: str,
    value_sum: float,
    sample_count: int | None = None,
    square_sum: float | None = None,
) -> str | None:
    """Say what about a sample cannot be, None if it can.

    What has the name of a registered check measures what that check judges: of 100 requests at
    most 100 failed, and no latency is below zero. Of other metrics only what holds for all
    numbers is known.
    """
    largest = {"value_sum": LARGEST, "square_sum": LARGEST**2}
    for name, number in (("value_sum", value_sum), ("square_sum", square_sum)):
        if number is not None and not isfinite(number):
            return f"{name}: a sample is a finite number, not {number:g}"
        if number is not None and abs(number) > largest[name]:
            return f"{name}: a sample is {largest[name]:g} at most, not {number:g}"
    if sample_count is not None and sample_count < 0:
        return f"sample_count: it is at least 0, not {sample_count}"
    if sample_count == 0:
        return None if value_sum == 0 else f"value_sum: no samples add up to 0, not {value_sum:g}"
    return _out_of_bounds(metric, value_sum, sample_count) or _too_small(
        value_sum, sample_count, square_sum
    )


def _out_of_bounds(metric: str, value_sum: float, sample_count: int | None) -> str | None:
    quantity = _quantity(metric)
    value = value_sum / (sample_count or 1)
    if quantity is None or quantity.holds(value):
        return None
    if sample_count is None:
        return f"value_sum: {metric} {quantity.bounds}, not {value_sum:g}"
    return f"value_sum: {metric} {quantity.bounds}, but {value_sum:g} / {sample_count} is {value:g}"


def _quantity(metric: str) -> Quantity | None:
    return health_checks.get(metric)() if metric in health_checks.names() else None


def _too_small(value_sum: float, sample_count: int | None, square_sum: float | None) -> str | None:
    """The squares of numbers add up to the square of their mean at least, each time."""
    if square_sum is None or sample_count is None:
        return None
    least = value_sum * (value_sum / sample_count)
    if square_sum >= least * (1 - _ROUNDING):
        return None
    return (
        f"square_sum: the squares of {sample_count} numbers that add up to {value_sum:g} are "
        f"{least:g} at least, not {square_sum:g}"
    )
