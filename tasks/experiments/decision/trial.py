"""What a method is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.errors import Reason
from tasks.experiments.decision.evidence import Terms, WinnerEvidence
from tasks.experiments.metrics import ArmMoments
from tasks.experiments.statistics.comparison import Comparison
from tasks.registry import Registry


@dataclass(frozen=True, slots=True)
class Trial:
    """The primary metric at every look that counts, this one the last of them if it does."""

    terms: Terms
    power: float  # planned
    is_rate: bool
    is_higher_better: bool
    fractions: tuple[float, ...]
    deviates: Mapping[str, tuple[float | None, ...]]  # z of each arm at each look
    earlier_p_values: Mapping[str, float]  # raw ones, after the look before
    units: Mapping[str, tuple[int, ...]]  # units with a value in the arm and the control
    planned_units: Mapping[str, float]  # of those two at the planned end
    compared: Mapping[str, Comparison]  # at this look, whether it counts or not
    tests: Mapping[str, Comparison]  # the same, weighed for testing: whose interval goes with z
    pairs: Mapping[str, tuple[ArmMoments, ArmMoments]]  # control and arm, at this look
    is_stratified: bool  # the split moved: those two must not be compared as they are
    is_usable: bool  # whether this look counts
    control_value: float | None  # at this look


@dataclass(frozen=True, slots=True)
class ArmTest:
    """How one arm stands after this look, by the acting method."""

    p_value: float  # adjusted for the looks and the arms, as far as the method does
    level: float  # the error at which this arm was judged
    is_found: bool = False  # different from the control, whichever way
    is_above: bool | None = None  # the side on which it was found
    bound: float | None = None  # what |z| had to reach at this look
    alpha_spent: float = 0.0
    reach: float | None = None  # half of the interval that may be read, in standard errors
    correction: float | None = None  # of the lift of an arm that was found: the winner's curse
    raw_p_value: float | None = None  # before Holm, where the next look can go on from it
    figures: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judged:
    """What a method says of a look."""

    arms: Mapping[str, ArmTest]
    reach: Callable[[float, int], float | None]
    """Half of a valid interval in standard errors, of another metric: error of two sides, units."""
    note: str = ""  # what a reader must know of the method
    figures: Mapping[str, Any] = field(default_factory=dict)


def always_open(_evidence: WinnerEvidence) -> Reason | None:
    """Every look counts."""
    return None


@dataclass(frozen=True, slots=True)
class Method:
    """A way to decide. ``gate`` says why a look does not count yet; then it tests nothing."""

    judge: Callable[[Trial], Judged]
    gate: Callable[[WinnerEvidence], Reason | None] = always_open
    is_sequential: bool = False  # an arm that was found at an earlier look stays found


methods: Registry[Method] = Registry("method", "headway.methods")
"""By name, as the plan names them; other packages by the entry point group."""
