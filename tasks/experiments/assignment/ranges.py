"""The split of the traffic as ranges of the bucket: which part of [0, 1) belongs to which arm.

A bucket falls into one of 2³² slots, so ranges begin and end at whole slots and nothing is lost
by rounding. ``moved_ranges`` changes a split by giving away as little as possible: an arm that
grows keeps all it has, so no more buckets change hands than the weights say.
The SQL function ``open_first_allocation`` makes the same first ranges.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import ceil, isfinite
from typing import NamedTuple

from tasks.errors import InputError

SLOTS = 2**32

Weights = Sequence[tuple[str, float]]
"""Arms with their weights, of any positive scale, in a fixed order: control first, then by name."""


class Range(NamedTuple):
    """The buckets from ``lower`` up to the next range's belong to the variant."""

    lower: float
    variant: str


class _Piece(NamedTuple):
    first: int
    end: int
    variant: str


def first_ranges(weights: Weights) -> tuple[Range, ...]:
    """Lay the arms beside each other; arms without weight get nothing.

    Raises InputError where no weight is positive, or one is negative or not finite.
    """
    return _joined(_Piece(*slots) for slots in _slots(weights))


def moved_ranges(held: Sequence[Range], weights: Weights) -> tuple[Range, ...]:
    """Return the ranges for new weights: arms give away only what they have too much.

    Raises InputError as first_ranges does.
    """
    wanted = {variant: end - first for first, end, variant in _slots(weights)}
    kept: list[_Piece] = []
    freed: list[tuple[int, int]] = []
    for piece in _pieces(held):
        size = min(piece.end - piece.first, wanted.get(piece.variant, 0))
        if size:
            wanted[piece.variant] -= size
            kept.append(piece._replace(end=piece.first + size))
        if piece.first + size < piece.end:
            freed.append((piece.first + size, piece.end))
    return _joined([*kept, *_given_away(freed, wanted, kept)])


def variant_at(ranges: Sequence[Range], bucket: float) -> str:
    """Return the arm that the bucket, in [0, 1), belongs to."""
    return ranges[bisect_right(ranges, bucket, key=lambda each: each.lower) - 1].variant


def _slots(weights: Weights) -> list[tuple[int, int, str]]:
    # Added one by one and rounded up, as SQL does it: bucket < share is slot < ceil(share × 2³²).
    if any(not isfinite(weight) or weight < 0 for _, weight in weights):
        raise InputError("a unit can only be assigned where weights are positive or zero")
    reached, bounds = 0.0, [0.0]
    for _, weight in weights:
        reached += weight
        bounds.append(reached)
    if reached <= 0:
        raise InputError("a unit can only be assigned where some weights are positive")
    edges = [ceil(bound / reached * SLOTS) for bound in bounds]
    pairs = zip(pairwise(edges), weights, strict=True)
    return [(first, end, name) for (first, end), (name, _) in pairs if first < end]


def _pieces(ranges: Sequence[Range]) -> list[_Piece]:
    edges = [int(each.lower * SLOTS) for each in ranges] + [SLOTS]
    pairs = zip(pairwise(edges), ranges, strict=True)
    return [_Piece(first, end, each.variant) for (first, end), each in pairs]


def _given_away(
    freed: Sequence[tuple[int, int]], wanted: dict[str, int], kept: Sequence[_Piece]
) -> list[_Piece]:
    """Hand what was freed to the arms that want more: first to the neighbours, so that few ranges
    come of it, then from the left in the arms' order.
    """
    given: list[_Piece] = []
    left = {variant: size for variant, size in wanted.items() if size}
    begins = {piece.first: piece.variant for piece in kept}
    ends = {piece.end: piece.variant for piece in kept}
    rest = []
    for first, end in freed:
        after = _take(left, begins.get(end), end - first)
        before = _take(left, ends.get(first), end - first - after)
        if after:
            given.append(_Piece(end - after, end, begins[end]))
        if before:
            given.append(_Piece(first, first + before, ends[first]))
        if first + before < end - after:
            rest.append((first + before, end - after))
    for first, end in rest:
        start = first
        while start < end:
            variant = next(iter(left))
            size = _take(left, variant, end - start)
            given.append(_Piece(start, start + size, variant))
            start += size
    return given


def _take(left: dict[str, int], variant: str | None, most: int) -> int:
    """How much of what it still wants the arm gets; it wants so much less then."""
    if variant is None or variant not in left:
        return 0
    size = min(left[variant], most)
    left[variant] -= size
    if not left[variant]:
        del left[variant]
    return size


def _joined(pieces: Iterable[_Piece]) -> tuple[Range, ...]:
    ranges: list[Range] = []
    for piece in sorted(pieces):
        if not ranges or ranges[-1].variant != piece.variant:
            ranges.append(Range(piece.first / SLOTS, piece.variant))
    return tuple(ranges)
