"""Levels of a dimension and their effects; compared as a whole, where the split never moved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from tasks.experiments.decision.evidence import Cell
from tasks.experiments.metrics import ArmMoments
from tasks.experiments.segments.estimates import estimates, why_too_small
from tasks.experiments.segments.evidence import NONE, OTHER, SegmentEvidence
from tasks.experiments.statistics.comparison import Comparison
from tasks.experiments.statistics.estimates import Estimate, compare
from tasks.experiments.statistics.heterogeneity import Heterogeneity, heterogeneity

REMAINDERS = {
    OTHER: "many levels as one: shown, not tested",
    NONE: "units that do not say it: shown, not tested",
}
UNKNOWN = "figures too large to compare"


@dataclass(frozen=True, slots=True)
class Level:
    """One level: who is there, and each treatment beside the control; undefined with a note."""

    dimension: str
    name: str
    arms: Mapping[str, ArmMoments]
    compared: Mapping[str, Comparison]
    notes: Mapping[str, str]  # by treatment: why it is not compared

    @property
    def is_remainder(self) -> bool:
        """True for what is left of others: no level to test."""
        return self.name in REMAINDERS


Judged = tuple[list[Level], Heterogeneity]


def judge_levels(evidence: SegmentEvidence) -> Judged:
    """Compare the arms in every level by Welch's test, and the levels by Cochran's; Holm."""
    levels: list[Level] = []
    tested: dict[str, dict[str, Mapping[str, Estimate]]] = {}
    for dimension, name, cells in in_order(evidence):
        arms = {arm: cell.moments for arm, cell in cells.items()}
        found = _estimated(evidence.kind, arms)
        notes = {
            arm: _note(evidence.kind, arms.get(arm), is_known=arm in found)
            for arm in (evidence.control, *evidence.treatments)
        }
        large = {arm: each for arm, each in found.items() if not notes[arm]}
        levels.append(_level(evidence, (dimension, name, arms), large, notes))
        if not levels[-1].is_remainder:
            tested.setdefault(dimension, {})[name] = large
    return levels, heterogeneity(tested, evidence.control, evidence.alpha)


def in_order(evidence: SegmentEvidence) -> Iterator[tuple[str, str, dict[str, Cell]]]:
    """Dimension, level and its arms: by dimension; the largest level first, remainders last."""
    cells = sorted(evidence.cells, key=lambda each: (each.dimension, each.level))
    held = [
        (dimension, name, {each.arm: each.cell for each in group})
        for (dimension, name), group in groupby(cells, lambda each: (each.dimension, each.level))
    ]
    yield from sorted(held, key=_place)


def _place(level: tuple[str, str, Mapping[str, Cell]]) -> tuple[str, bool, int, str]:
    dimension, name, arms = level
    return dimension, name in REMAINDERS, -sum(arm.n for arm in arms.values()), name


def _level(
    evidence: SegmentEvidence,
    of: tuple[str, str, Mapping[str, ArmMoments]],
    large: Mapping[str, Estimate],
    notes: Mapping[str, str],
) -> Level:
    control = large.get(evidence.control)
    compared = {
        arm: compare(control, large[arm], evidence.alpha)
        if control is not None and arm in large
        else Comparison()
        for arm in evidence.treatments
    }
    told = {arm: notes[arm] or notes[evidence.control] for arm in evidence.treatments}
    return Level(*of, compared, told)


def _estimated(kind: str, arms: Mapping[str, ArmMoments]) -> dict[str, Estimate]:
    try:
        return estimates(kind, arms)
    except (ArithmeticError, ValueError):
        return {}


def _note(kind: str, arm: ArmMoments | None, *, is_known: bool) -> str:
    """Why an arm is not compared in a level; empty where it is."""
    if arm is None:
        return "no units in an arm"
    return why_too_small(kind, arm) or ("" if is_known else UNKNOWN)
