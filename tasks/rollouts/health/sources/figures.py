"""What a source answered, as figures: only finite numbers count, and nothing is taken for zero."""

from __future__ import annotations

from decimal import Decimal
from math import isfinite
from typing import Any

from tasks.rollouts.health.measured import Measured

MOST = 1e150
"""Its square is still a number; nothing that is measured comes near."""

MOST_COUNTED = 2**53
"""Up to here every whole number is a float of its own."""

_BROKEN = Measured(broken_rows=1)


def given(value: Any, count: Any = None, *, is_counted: bool = False) -> Measured:
    """A value as a source gave it, on so many observations.

    Without a value nothing was measured, nor on 0 observations, nor without the number of them
    where it was to be told (``is_counted``). What is no finite number (NaN, an infinity, text,
    true) is broken, and so is a count that is none.
    """
    if value is None or whole(count) == 0 or (is_counted and count is None):
        return Measured()
    number, counted = finite(value), whole(count)
    if number is None or (count is not None and counted is None):
        return _BROKEN
    return Measured(given_value=number, given_count=counted, given_rows=1)


def summed(value_sum: Any, sample_count: Any, square_sum: Any = None) -> Measured:
    """A sum over so many samples, and where it is known the sum of their squares.

    Without a count, or with a count of 0, nothing was measured; a sum of nothing that is not 0 is
    broken, and so is one that is missing beside its count.
    """
    if sample_count is None or whole(sample_count) == 0:
        return Measured() if value_sum is None or finite(value_sum) == 0 else _BROKEN
    total, count, squares = finite(value_sum), whole(sample_count), finite(square_sum)
    is_square_bad = square_sum is not None and (squares is None or squares < 0)
    if total is None or count is None or is_square_bad:
        return _BROKEN
    return Measured(value_sum=total, sample_count=count, square_sum=squares)


def finite(value: Any) -> float | None:
    """The number that it is; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):  # an integer of 400 digits; a signalling NaN
        return None
    return number if isfinite(number) and abs(number) <= MOST else None


def whole(value: Any) -> int | None:
    """The count that it is; None for anything else, a part of a sample included."""
    number = finite(value)
    if number is None or number < 0 or number > MOST_COUNTED or number != int(number):
        return None
    return int(number)
