"""Figures and times in words: the same everywhere."""

from __future__ import annotations

from datetime import datetime
from math import isfinite

NONE = "–"


def number(value: float | None, *, sign: bool = False) -> str:
    """Four digits; a dash where it is unknown."""
    if value is None or not isfinite(value):
        return NONE
    return f"{value:+.4g}" if sign else f"{value:.4g}"


def share(value: float | None, *, sign: bool = False) -> str:
    """A share as a percentage; a dash where it is unknown."""
    if value is None or not isfinite(value):
        return NONE
    return f"{value:+.2%}" if sign else f"{value:.0%}"


def interval(lower: float | None, upper: float | None, *, is_share: bool = False) -> str:
    """Both ends with their signs; an end that is unknown is open."""
    if lower is None and upper is None:
        return NONE
    ends = [share(end, sign=True) if is_share else number(end, sign=True) for end in (lower, upper)]
    return " to ".join("unbounded" if end == NONE else end for end in ends)


def day(moment: datetime | None) -> str:
    """The day and the minute, UTC as the database gives it; a dash where there is none."""
    return NONE if moment is None else f"{moment:%Y-%m-%d %H:%M}"
